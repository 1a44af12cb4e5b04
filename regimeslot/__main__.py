"""``python -m regimeslot`` is the ``regimeslot`` command."""

from __future__ import annotations

from regimeslot.cli import main

if __name__ == "__main__":
    main()
