from __future__ import annotations

from pathlib import Path

from stockstream.cli.demo.system import System

LOG = """[2026-11-21 08:54:14,544] [23776] [INFO] yahoo/0: 2 symbols
[2026-11-21 08:54:14,544] [23776] [WARNING] yahoo: unknown host; trying again in 2.2 s
[2026-11-21 08:54:14,545] [23776] [CRITICAL] sending to the tables failed
[2026-11-21 08:54:14,545] [23776] [ERROR] [^----Agent*: candles]: Crashed reason=Exception('no space')
[2026-11-21 08:54:17,966] [23776] [CRITICAL] [^Worker]: We experienced a crash! Reraising original exception...
"""


async def test_what_the_worker_warns_of_is_told_without_what_its_framework_adds(tmp_path: Path) -> None:
    system = System(tmp_path, 1, 0, {}, print)
    system.log.write_text(LOG)
    assert system.warnings("WARNING", "ERROR") == ["yahoo: unknown host; trying again in 2.2 s"]
    assert system.warnings("CRITICAL") == ["sending to the tables failed"]
