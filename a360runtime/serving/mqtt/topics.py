"""What may be a topic, and what a topic filter takes in. Needs the standard library only."""

import re

LONGEST = 500
"""Characters of a topic; brokers of the cloud take less than MQTT's 65,535 bytes."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def why_no_topic(topic: str) -> str:
    """Return why nothing can be sent to `topic`; "" when it can."""
    if "+" in topic or "#" in topic:
        return "holds a wildcard (+ or #); answers go to one topic"
    return _why_no_name(topic)


def why_no_filter(topic: str) -> str:
    """Return why one cannot listen on `topic`, which may hold wildcards; "" when one can."""
    levels = topic.split("/")
    if any("+" in level and level != "+" for level in levels):
        return "has a + that is not a level of its own, as in plant/+/ask"
    if any("#" in level and level != "#" for level in levels) or "#" in levels[:-1]:
        return "has a # that is not the last level by itself, as in plant/#"
    return _why_no_name(topic)


def why_no_pair(listen: str, respond: str) -> str:
    """Return why answers cannot go to `respond` while one listens on `listen`; "" when they can."""
    if matches(listen, respond):
        return "is taken in by the topic that is listened on: answers would be answered without end"
    return ""


def matches(pattern: str, topic: str) -> bool:
    """Does a topic filter take in this topic?"""
    wanted, levels = pattern.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in ("+", "#"):
        return False
    for position, level in enumerate(wanted):
        if level == "#":
            return True
        if position >= len(levels) or level not in ("+", levels[position]):
            return False
    return len(wanted) == len(levels)


def _why_no_name(topic: str) -> str:
    if not topic.strip():
        return "is empty"
    if len(topic) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if _CONTROL.search(topic):
        return "holds a character that no topic may hold"
    if topic.startswith("$"):
        return "begins with $; such topics belong to the broker"
    return ""
