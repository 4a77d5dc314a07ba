"""The table of what is fuzzed."""

from __future__ import annotations

from fuzz import answers, feeds, files, followers, records, texts

TARGETS = {
    target.name: target
    for target in (
        *feeds.TARGETS,
        *records.TARGETS,
        *followers.TARGETS,
        *files.TARGETS,
        *texts.TARGETS,
        *answers.TARGETS,
    )
}
