"""Every kernel of this environment has the object ``a360ai``."""

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - IPython defines it
c.InteractiveShellApp.extensions.append("a360mdk.ipython")
