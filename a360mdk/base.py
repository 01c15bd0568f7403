"""What models, experiments, runs and data repos have in common: fixed fields, a few of them mutable."""

from typing import Any, ClassVar, Self

from a360mdk.exceptions import A360AIError


class Base:
    """An object of the platform as the notebook sees it.

    ``fields`` maps every documented attribute to its default. ``mutable`` names those that may change during
    the object's life; assigning any other raises ``error``.
    """

    fields: ClassVar[dict[str, Any]] = {}
    mutable: ClassVar[tuple[str, ...]] = ()
    error: ClassVar[type[Exception]] = A360AIError

    def __init__(self, **values: Any) -> None:
        unknown = sorted(set(values) - set(self.fields))
        if unknown:
            raise self.error(
                f"{type(self).__name__} has no field {', '.join(unknown)}.",
                f"It was made with {', '.join(values)}.",
                f"Its fields are {', '.join(self.fields)}.",
            )
        self._load({**self.fields, **values})

    @classmethod
    def from_document(cls, document: dict[str, Any], **more: Any) -> Self:
        """Make the object from the service's document; members the kit does not show are left out.

        Args:
            document: what the service answered.
            more: fields it does not know, such as back references.
        """
        known = {name: document[name] for name in cls.fields if name in document}
        return cls(**{**known, **more})

    def _load(self, values: dict[str, Any]) -> None:
        """Set fields past the rule for users: what comes from the platform is true."""
        self.__dict__.update(values)

    def _change(self, name: str, value: Any) -> None:
        """Carry out a user's change of a mutable field; subclasses tell the platform."""
        self._load({name: value})

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        elif name in self.mutable:
            self._change(name, value)
        else:
            kind = type(self).__name__
            changeable = ", ".join(self.mutable) or "nothing"
            raise self.error(
                f"{kind}.{name} cannot be changed.",
                f"Of a {kind} these may change: {changeable}.",
                f"Get or create another {kind.lower()} instead.",
            )
