"""Everything outside the service, each family a base class with implementations chosen by configuration."""
