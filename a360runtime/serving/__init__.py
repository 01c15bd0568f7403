"""The Flask wrapper that answers the calls to one served model."""
