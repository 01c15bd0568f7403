"""The MQTT wrapper: listens on one topic and answers on another, each request once."""
