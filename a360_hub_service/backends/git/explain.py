"""What git says when it fails, as an error a person can act on."""

import re
from urllib.parse import urlsplit

from a360_hub_service.backends.git.addresses import is_commit, refused
from a360_hub_service.backends.git.base import GitError, GitLogin
from a360_hub_service.backends.git.program import too_large

_KINDS = (
    (r"could not resolve|name or service not known|temporary failure in name resolution", "unreachable"),
    (
        r"failed to connect|connection refused|timed out|could(n't| not) connect|unable to connect",
        "unreachable",
    ),
    (
        r"operation too slow|connection reset|empty reply|network is unreachable|no route to host",
        "unreachable",
    ),
    (r"no space left on device", "full"),
    (r"file too large|signal 25", "large"),
    (r"out of memory|malloc failed|cannot allocate|signal (9|11)\b", "memory"),
    (r"transport '.*' not allowed|protocol .* not (supported|allowed)", "protocol"),
    (r"returned error: 30\d", "moved"),
    (r"mismatched algorithms|object format", "sha256"),
    (
        r"error in (packed )?object|fsck error|hasdot|treenotsorted|duplicateentries|nullsha1|fullpathname",
        "harmful",
    ),
    (r"not our ref|unadvertised object|upload-pack: not our", "commit"),
    (
        r"authentication failed|could not read (username|password)|terminal prompts disabled|error: 401",
        "auth",
    ),
    (r"error: 403", "forbidden"),
    (r"couldn't find remote ref|could not find remote", "branch"),
    (r"not found|does not exist|does not appear to be a git repository|no such file|error: 404", "missing"),
    (r"\bssl\b|certificate|\btls\b", "tls"),
    (r"error: 429|error: 50[0-9]", "busy"),
)


def explain(output: str, url: str, branch: str, login: GitLogin | None, max_bytes: int) -> GitError:
    """Return the error that what git wrote means."""
    lines = [line for line in output.splitlines() if line.startswith(("fatal:", "error:", "remote:"))]
    said = "".join(c if c.isprintable() else " " for c in " ".join(lines or output.splitlines()))[
        -500:
    ].strip()
    kind = next((kind for pattern, kind in _KINDS if re.search(pattern, said, re.I)), "other")
    host = urlsplit(url).hostname or "this machine"
    if kind == "large":
        return too_large(max_bytes)
    if kind == "branch":
        return no_branch(branch)
    if kind == "commit":
        return GitError(
            f"The repository has no commit {branch}, or its server gives out no single commits.",
            hint="Check that the commit is pushed, or name a branch or a tag.",
            field="branch",
        )
    if kind == "auth":
        return no_access(host, url, login)
    message, hint = {
        "unreachable": (
            f"The git server {host} cannot be reached. ({said})",
            "Check the address and the network.",
        ),
        "tls": (
            f"No trusted connection to {host}. ({said})",
            "Install the server's certificate authority.",
        ),
        "forbidden": (
            f"The server {host} refuses {url}. ({said})",
            "Check that the account may read the repository, and that its organisation lets it in.",
        ),
        "missing": (
            f"There is no repository at {url}"
            + (", or the credential does not open it." if login else f". ({said})"),
            "Check the address.",
        ),
        "moved": (
            f"The server {host} sends {url} elsewhere; redirects are not followed.",
            "Give the address the repository has now.",
        ),
        "protocol": (
            f"{url} leads to a kind of address that is not allowed. ({said})",
            "Use an https address.",
        ),
        "full": ("No space is left on the disk of the platform.", "Free disk space, then package again."),
        "memory": (
            "The repository takes more memory to read than a repository may.",
            "Keep data out of the repository of the script.",
        ),
        "sha256": (
            f"The repository at {url} names its objects by SHA-256, which is not supported.",
            "Use a repository with SHA-1 names, as git makes them by default.",
        ),
        "harmful": (
            f"The repository at {url} is damaged, or made to do harm: {said}",
            "Run git fsck in it, and push it anew.",
        ),
        "busy": (
            f"The git server {host} does not answer now. ({said})",
            "Wait a while, then package again.",
        ),
        "other": (
            f"Git could not fetch {url}: {said or 'it gave no reason'}.",
            "Check the address and the branch.",
        ),
    }[kind]
    return refused(message, hint)


def no_branch(branch: str) -> GitError:
    """Return the error of a name that the repository does not have."""
    part_of_commit = re.fullmatch("[0-9a-fA-F]{7,39}", branch) and not is_commit(branch)
    return GitError(
        f"The repository has no branch or tag {branch!r}.",
        hint="Give all 40 digits of a commit." if part_of_commit else "Check its name, or push it.",
        field="branch",
    )


def no_access(host: str, url: str, login: GitLogin | None) -> GitError:
    """Return the error of a repository that wants another login, or any."""
    if login is None:
        return refused(
            f"The server {host} asks for a sign-in for {url}, or has no such repository.",
            "Check the address. For a private repository an administrator adds a credential for one of "
            "your groups.",
        )
    return refused(
        f"The server {host} does not accept the credential for {url}.",
        "An administrator gives it a token that is valid and may read the repository.",
    )
