"""Every error of the project has one root, says what was wrong and where, and ends with the way out."""


class HuozhaoError(Exception):
    """What was wrong, and what to do about it.

    Parameters
    ----------
    what : str
        What was wrong, naming the thing and the place.
    way_out : str
        What the reader can do now; shown after the fault.
    """

    def __init__(self, what: str, way_out: str = "") -> None:
        super().__init__(f"{what} {way_out}".strip())
        self.what = what
        self.way_out = way_out


class RecordError(HuozhaoError):
    """A record is not of its schema, or its clock cannot be true."""


class LogError(HuozhaoError):
    """The log, or a file of its archive, is not as it was written, or is held by another writer."""


class DamageError(LogError):
    """A file of the archive is damaged.

    Parameters
    ----------
    what, way_out : str
        See ``HuozhaoError``.
    offset : int
        The first record that cannot be read; the file's first where all can.
    """

    def __init__(self, what: str, way_out: str, offset: int) -> None:
        super().__init__(what, way_out)
        self.offset = offset


class HuozhaoWarning(UserWarning):
    """Something could not be used, and another thing takes its place; the command line tells it in one line."""


class FeatureError(HuozhaoError):
    """A FeatureSet names what does not exist, or does not fit what it is used with."""


class SnapshotError(HuozhaoError):
    """A snapshot of the feature state is damaged or belongs to another layout."""


class BundleError(HuozhaoError):
    """A bundle is missing, damaged or foreign."""


class PolicyError(HuozhaoError):
    """A policy names an unknown key or a value out of its range.

    Parameters
    ----------
    what, way_out : str
        See ``HuozhaoError``.
    key : str
        The key at fault, such as ``surfaces.feed.bounds[0].of``; empty where it is none's.
    """

    def __init__(self, what: str, way_out: str = "", key: str = "") -> None:
        super().__init__(what, way_out)
        self.key = key


class RequestError(HuozhaoError):
    """A request asks for what cannot be given."""


class SurfaceError(RequestError):
    """A request names a surface that the policy does not declare."""


class MomentError(RequestError):
    """A moment lies so far from any snapshot that it is computed again only when asked for by name."""


class TrainingError(HuozhaoError):
    """A log cannot be trained on or judged by."""


class SourceError(HuozhaoError):
    """A file that records should be read from is not of the form its adapter knows."""
