"""``python -m a360_hub_service`` runs the service."""

from .app import main

if __name__ == "__main__":
    main()
