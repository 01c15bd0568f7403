"""The Hub as the service sees it: users, groups and servers over its REST API."""
