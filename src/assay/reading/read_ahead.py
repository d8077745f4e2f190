"""Reading ahead: parts of a source are made in a thread of its own while the reader works on those before."""

from __future__ import annotations

import io
import weakref
from collections import deque
from collections.abc import Callable, Generator
from threading import Condition, Thread, current_thread
from typing import Final, Generic, Self, TypeVar

#: Bytes that may wait: more than a reader takes at a time, so that the next of it is ready when it comes again.
AHEAD_BYTES: Final = 16 * 1024 * 1024
#: Seconds that closing waits for a thread which is inside a call that cannot be interrupted (a dead network drive).
_PATIENCE: Final = 5.0


T = TypeVar("T")


class _Parts(Generic[T]):
    """What has been made and not yet been read.

    Args:
        limit: How much may wait.
        size: How much a part is.
        end: What stands behind the last part.
    """

    def __init__(self, limit: int, size: Callable[[T], int], end: T) -> None:
        self._limit, self._size_of, self._end = limit, size, end
        self._waiting: deque[T] = deque()
        self._size = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._changed = Condition()

    def put(self, part: T) -> bool:
        """Add a part as soon as there is room; False when nobody reads any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._size < self._limit)
            if self._stopped:
                return False
            self._waiting.append(part)
            self._size += self._size_of(part)
            self._changed.notify()
            return True

    def end(self, error: BaseException | None) -> None:
        """No more will come."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify()

    def take(self) -> T:
        """The next part; at the end what stands there, or the error that made it one, however often it is asked for."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended or self._stopped)
            if self._waiting:
                part = self._waiting.popleft()
                self._size -= self._size_of(part)
                self._changed.notify()
                return part
            if self._stopped:
                raise ValueError("I/O operation on closed file")
            if self._error is not None:
                raise self._error
            return self._end

    def stop(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()


class ReadAhead(io.RawIOBase):
    """A stream whose blocks are made in a thread of its own, a bounded number of bytes ahead.

    An error of the thread goes up at its place: where all that was made before it has been read. The thread ends when
    the stream is closed, let go of, or when the interpreter ends.

    Args:
        blocks: Makes the blocks; it runs, and is closed, in the thread.
        interrupt: Called from another thread when the stream is closed: ends a wait that `blocks` may be in.
        limit: Bytes that may wait to be read.
    """

    def __init__(
        self,
        blocks: Generator[bytes, None, None],
        *,
        interrupt: Callable[[], None] | None = None,
        limit: int = AHEAD_BYTES,
    ) -> None:
        self._blocks = _Parts(limit, len, b"")
        self._rest = memoryview(b"")
        # It must not know this object: then who lets go of the object ends it.
        self._thread = Thread(target=_fill, args=(self._blocks, blocks), name="assay-read-ahead", daemon=True)
        self._end = weakref.finalize(self, _end, self._blocks, self._thread, interrupt)
        self._thread.start()

    def readable(self) -> bool:
        """True: this is a stream to read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Read `size` bytes, or all if it is negative; fewer only at the end, or before an error.

        Raises:
            SourceError: what made the thread end, once everything before it has been read.
        """
        pieces: list[memoryview] = []
        missing = size
        while missing:
            if not self._rest:
                try:
                    self._rest = memoryview(self._blocks.take())
                except Exception:
                    if pieces:
                        break
                    raise
                if not self._rest:
                    break
            piece = self._rest[:missing] if size >= 0 else self._rest
            self._rest = self._rest[len(piece) :]
            pieces.append(piece)
            if size >= 0:
                missing -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read up to `len(buffer)` bytes; 0 at the end."""
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def stop(self) -> None:
        """End the thread after the block under way; what it reads from is left where it is."""
        self._blocks.stop()
        self._thread.join()

    def interrupt(self) -> None:
        """End the thread at once. May be called from any thread."""
        self._end()

    def close(self) -> None:
        """End the thread at once."""
        self._end()
        super().close()


class Ahead(Generic[T]):
    """The items of a generator, made in a thread of its own, so many ahead; an error goes up at its place.

    The thread ends when this is let go of, after the item under way, or when the interpreter ends.

    Args:
        items: Makes them; it runs, and is closed, in the thread, and waits for nothing from afar.
        limit: Items that may wait.
    """

    def __init__(self, items: Generator[T, None, None], limit: int) -> None:
        self._parts = _Parts[T | None](limit, lambda _: 1, None)
        thread = Thread(target=_fill, args=(self._parts, items), name="assay-ahead", daemon=True)
        weakref.finalize(self, _end, self._parts, thread, None)
        thread.start()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """The next item."""
        item = self._parts.take()
        if item is None:
            raise StopIteration
        return item


def _fill(parts: _Parts[T], made: Generator[T, None, None]) -> None:
    failure: BaseException | None = None
    try:
        for part in made:
            if not parts.put(part):
                break
        made.close()
    except BaseException as error:  # noqa: BLE001 - it goes up where the blocks are read
        failure = error
    parts.end(failure)


def _end(parts: _Parts[T], thread: Thread, interrupt: Callable[[], None] | None) -> None:
    parts.stop()
    if interrupt is not None:
        interrupt()
    # The garbage collector may be at work in this very thread.
    if thread is not current_thread():
        thread.join(_PATIENCE)
