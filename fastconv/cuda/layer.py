"""A layer's weights on a device, packed once for each kind of calls: the counterpart of `fastconv.call.Bindings`."""

from __future__ import annotations

from typing import NamedTuple, cast

from fastconv import config
from fastconv.call import AnyBindings, Array, as_key, keep_few
from fastconv.cuda import plan as plans
from fastconv.cuda import table
from fastconv.cuda.algorithm import Place
from fastconv.cuda.arrays import DeviceArray, library_of
from fastconv.cuda.call import Call, addend, memory, operand, prepared, run
from fastconv.cuda.packing import duplicate
from fastconv.devices import all_on_device
from fastconv.layers import check
from fastconv.selection.choice import called


class _Binding(NamedTuple):
    """What to run, and on which packed weights."""

    call: Call
    packed: DeviceArray | None  # None: the plan takes weights as they lie

    @property
    def nbytes(self) -> int:
        """Of what is packed."""
        return 0 if self.packed is None else self.packed.nbytes


class Bindings(AnyBindings[_Binding]):
    """Copies of weight and bias on their device, made ready for calls.

    Weights are packed for each stream, in the order of its launches. So no call reads what another stream has yet to
    write, and memory that a library takes back goes to those who come later on the same stream.
    """

    def __init__(self, rank: int, weight: object, bias: object, arguments: tuple[object, ...]) -> None:
        super().__init__()
        self._library = library_of(weight)
        filters = self._library.look(weight)
        check(rank, filters, arguments)
        *_, algorithm, _ = arguments
        if algorithm != "auto":
            called(cast("str", algorithm), table.TABLE)
        term = addend(bias, "bias", filters, filters.shape[:1], "weight")
        self._weight = self._own(filters)
        self._bias = None if term is None else self._own(term)
        target = plans.target(filters.device)
        target.driver.wait(target.ordinal, self._library.stream(filters))  # calls may come on any stream
        self._rank, self._arguments, self._key = rank, arguments, as_key(arguments)
        self.shape, self.dtype, self.has_bias = filters.shape, filters.dtype, term is not None

    def _own(self, array: DeviceArray) -> DeviceArray:
        """Return a copy, of the weight's library."""
        return duplicate(array, self._library, self._library.stream(array))

    @property
    def weight(self) -> Array:
        """A copy: nothing keeps an array on a device from being written."""
        return cast("Array", self._own(self._weight).owner)

    @property
    def bias(self) -> Array | None:
        """A copy, likewise."""
        return None if self._bias is None else cast("Array", self._own(self._bias).owner)

    def convolve(self, x: object, residual: object, out: object) -> Array:
        """Do what the function of the same arguments does."""
        all_on_device(weight=self._weight.owner, x=x, residual=residual, out=out)  # as the weight is
        library = library_of(x)
        images = library.look(x)
        operand(images, "x", self._weight, "weight")
        place = (images.shape, library.stream(images), config.settings())
        binding = self.kept.get(place) or self._bind(place, images)
        call, packed = binding
        added = addend(residual, "residual", images, call.shape)
        operands = (images, self._weight, self._bias, added)
        (result,) = run(call.plan, library, operands, [(call.shape, call.dtype)], out, packed)
        return cast("Array", result)

    def _bind(self, place: tuple[tuple[int, ...], int, config.Settings], images: DeviceArray) -> _Binding:
        """Pack for a call; threads that do it together do it twice, which is no harm."""
        kept = self.kept  # what is cleared meanwhile is kept by nobody
        _, stream, settings = place
        call = prepared(self._rank, images, self._weight, self._arguments, self._key, settings)
        packed = None
        if call.plan is not None and call.plan.packed:
            packed = memory(library_of(images.owner), images, call.plan.packed)
            assert packed is not None
            addresses = [0] * len(Place)
            addresses[Place.WEIGHT], addresses[Place.PACKED] = self._weight.pointer, packed.pointer
            call.plan.pack(addresses, stream)
        return keep_few(kept, place, _Binding(call, packed))

    @property
    def nbytes(self) -> int:
        """Bytes of weight and bias, and of what was packed of them."""
        own = self._weight.nbytes + (0 if self._bias is None else self._bias.nbytes)
        return own + sum(binding.nbytes for binding in tuple(self.kept.values()))
