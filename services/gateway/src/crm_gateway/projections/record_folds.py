"""How one read model is made of the folds of several kinds of record, one file each."""

from typing import Any

from crm_platform.projection import Projection


class RecordFolds(Projection):
    """The folds of one kind of record; a projection that inherits several has the folds of all.

    Fold methods are called by name, so no two kinds of record may share one: that raises TypeError.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        names: set[str] = set()
        for part in cls.__bases__:
            if not issubclass(part, Projection):
                continue
            for event, folds in part.folds.items():
                cls.folds.setdefault(event, []).extend(folds)
            part_names = {fold.method for folds in part.folds.values() for fold in folds}
            if shared := names & part_names:
                raise TypeError(f"two kinds of record have a fold named {', '.join(sorted(shared))}")
            names |= part_names
