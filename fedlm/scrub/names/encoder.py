"""The token classifier's network, rewritten for speed: 8-bit products, fused operators, findings independent of the batch.

The package's ONNX file has 4-bit weights, which ONNX Runtime unpacks to float32 for every product, in 529 nodes. Its
weights are read here and written into a graph of 72 nodes. Each product's input is rounded to 8 bits on a fixed scale
(`RANGES`). The usual scale, the batch's largest value, would make a text's findings depend on the other texts of its
batch. Weights have 7 bits per column: with an eighth bit, products overflow on processors without VNNI, and findings
would depend on the processor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fedlm.scrub.names import protobuf
from fedlm.scrub.names.protobuf import Fields, float_field, one, read, text, write

LAYERS, HEADS, LABELS = 6, 12, 35
_LEVELS = 63
_EPSILON = 1e-12
# Smallest and largest input of each layer's four products: queries, keys and values; the attention's output; and the two of
# the feed-forward part. Measured by `python -m fedlm.scrub.calibrate` over tweets, debates, reports and generated mail.
RANGES: tuple[tuple[float, float], ...] = (
    *((-6.42, 7.52), (-4.43, 2.93), (-7.98, 22.28), (-0.17, 20.07)),  # layer 0
    *((-7.03, 9.04), (-2.92, 3.57), (-8.65, 26.83), (-0.17, 15.91)),  # layer 1
    *((-7.34, 7.94), (-3.29, 3.91), (-11.13, 22.32), (-0.17, 14.53)),  # layer 2
    *((-7.64, 9.57), (-3.20, 3.13), (-13.33, 21.98), (-0.17, 10.09)),  # layer 3
    *((-7.54, 10.59), (-4.08, 4.16), (-11.55, 16.75), (-0.17, 5.94)),  # layer 4
    *((-6.23, 10.09), (-5.33, 4.76), (-11.14, 17.18), (-0.17, 5.23)),  # layer 5
)
# Field numbers of onnx.proto3: of a model, a graph, a node, an attribute, a value's type.
_VERSION, _GRAPH, _OPSET = 1, 7, 8
_NODE, _NAME, _INITIALIZER, _INPUT, _OUTPUT = 1, 2, 5, 11, 12
_MICROSOFT = b"com.microsoft"
_FLOAT, _INT32, _INT64 = 1, 6, 7

Floats = npt.NDArray[np.float32]


def fused(model: bytes, ranges: Sequence[tuple[float, float]] | None = RANGES) -> bytes:
    """Returns the network as ONNX: ids (b, s), positions (s), lengths (b) to logits (b, s, 35); a row's padding is last.

    Args:
      model: the package's file.
      ranges: of the products' inputs; None keeps everything in float32 and adds those inputs to the outputs, to calibrate.
    """
    source, graph = _Source.read(model), _Graph(ranges)
    states = _embeddings(source, graph)
    for layer in range(LAYERS):
        states = _layer(source, graph, layer, states)
    classifier = graph.constant("classifier", source.products[-1])
    graph.node("MatMul", [states, classifier], "scores")
    graph.node("Add", ["scores", graph.constant("classifier_bias", source.tensors["classifier.bias"])], "logits")
    return graph.model()


def _embeddings(source: "_Source", graph: "_Graph") -> str:
    table, scale, zero = source.embedding("word")
    rest = source.table("position") + source.table("token_type")[0]  # every token is of the first type
    graph.node("Gather", [graph.constant("words", table), "ids"], "word8")
    scaled = [graph.constant("word_scale", scale), graph.constant("word_zero", zero)]
    graph.node("DequantizeLinear", ["word8", *scaled], "word")
    graph.node("Gather", [graph.constant("places", rest), "positions"], "place")
    return graph.norm(["word", "place"], source.norm("bert.embeddings.LayerNorm"), "states")


def _layer(source: "_Source", graph: "_Graph", layer: int, states: str) -> str:
    """Writes one layer; returns the name of its output."""
    name, weights = f"layer{layer}", source.products[6 * layer : 6 * layer + 6]
    of, tensors = f"bert.encoder.layer.{layer}.", source.tensors
    bias = np.concatenate([tensors[f"{of}attention.self.{part}.bias"] for part in ("query", "key", "value")])
    found = graph.attention(states, np.concatenate(weights[:3], axis=1), bias, f"{name}_attention")
    found = graph.product(found, weights[3], tensors[f"{of}attention.output.dense.bias"], f"{name}_found")
    middle = graph.norm([found, states], source.norm(f"{of}attention.output.LayerNorm"), f"{name}_middle")
    inner = graph.product(middle, weights[4], tensors[f"{of}intermediate.dense.bias"], f"{name}_inner")
    inner = graph.node("Gelu", [inner], f"{name}_gelu", _MICROSOFT)
    outer = graph.product(inner, weights[5], tensors[f"{of}output.dense.bias"], f"{name}_outer")
    return graph.norm([outer, middle], source.norm(f"{of}output.LayerNorm"), f"{name}_states")


@dataclass(frozen=True)
class _Source:
    """Weights of the package's file: tensors by name, and the products' float32 matrices (in, out) in order."""

    tensors: dict[str, npt.NDArray[np.generic]]
    products: list[Floats]

    @classmethod
    def read(cls, model: bytes) -> "_Source":
        fields = read(one(read(model), _GRAPH))
        stored = [read(value) for number, value in fields if number == _INITIALIZER]
        tensors = {text(one(t, 8)): protobuf.array(t) for t in stored}
        nodes = [read(value) for number, value in fields if number == _NODE]
        products = [[text(v) for n, v in node if n == 1] for node in nodes if one(node, 4) == b"MatMulNBits"]
        return cls(tensors, [_unpack(tensors[packed], tensors[scales]) for _, packed, scales in products])

    def embedding(self, name: str) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic], npt.NDArray[np.generic]]:
        """Returns the 8-bit table (rows, 384), its scale and its zero."""
        table, scale, zero = (
            self.tensors[f"bert.embeddings.{name}_embeddings.weight_{part}"]
            for part in ("quantized", "scale", "zero_point")
        )
        return table, scale, zero

    def table(self, name: str) -> Floats:
        """Returns a table in float32."""
        table, scale, zero = (part.astype(np.float32) for part in self.embedding(name))
        return scale * (table - zero)

    def norm(self, name: str) -> list[npt.NDArray[np.generic]]:
        """Returns weight and bias of a layer normalisation."""
        return [self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]]


def _unpack(packed: npt.NDArray[np.generic], scales: npt.NDArray[np.generic]) -> Floats:
    """Returns float32 weights (in, out) from 4-bit weights: two per byte, a scale for 32 of a column, and 8 for zero."""
    columns = packed.shape[0]
    halves = np.stack([packed.astype(np.uint8) & 15, packed.astype(np.uint8) >> 4], -1)
    weights = (halves.reshape(columns, -1, 32).astype(np.float32) - 8) * scales.astype(np.float32).reshape(
        columns, -1, 1
    )
    return np.ascontiguousarray(weights.reshape(columns, -1).T, dtype=np.float32)


def _seven_bits(weights: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Returns weights (in, out) as integers from -63 to 63, and the scale (out,) of each column."""
    scale = np.maximum(np.abs(weights).max(axis=0), 1e-12) / _LEVELS
    return np.rint(weights / scale).astype(np.int8), scale.astype(np.float32)


@dataclass
class _Graph:
    """The ONNX graph under construction."""

    ranges: Sequence[tuple[float, float]] | None
    fields: Fields = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)  # of the products, in order

    def constant(self, name: str, values: npt.NDArray[np.generic]) -> str:
        self.fields.append((_INITIALIZER, protobuf.tensor(name, np.ascontiguousarray(values).reshape(values.shape))))
        return name

    def node(self, kind: str, inputs: list[str], output: str, domain: bytes = b"", **numbers: float) -> str:
        names = [(1, name.encode()) for name in inputs]
        attributes = [(5, _attribute(key, value)) for key, value in numbers.items()]
        node = [*names, (2, output.encode()), (4, kind.encode()), *attributes, (7, domain)]
        self.fields.append((_NODE, write(node)))
        return output

    def norm(self, inputs: list[str], weights: list[npt.NDArray[np.generic]], name: str) -> str:
        """Adds the two inputs and normalises the sum."""
        scale, shift = (self.constant(f"{name}_{part}", w) for part, w in zip(("scale", "shift"), weights, strict=True))
        return self.node("SkipLayerNormalization", [*inputs, scale, shift], name, _MICROSOFT, epsilon=_EPSILON)

    def attention(self, states: str, weights: Floats, bias: npt.NDArray[np.generic], name: str) -> str:
        """Adds attention of every token to its row's first `lengths` tokens; weights (384, 3 x 384) of queries, keys, values."""
        shift = self.constant(f"{name}_bias", bias)
        rounded = self._rounded(states, name)
        if rounded is None:
            inputs = [states, self.constant(f"{name}_weights", weights), shift, "lengths"]
            return self.node("Attention", inputs, name, _MICROSOFT, num_heads=HEADS)
        small, scale = _seven_bits(weights)
        inputs = [rounded[0], self.constant(f"{name}_weights", small), shift, rounded[1]]
        inputs += [self.constant(f"{name}_scale", scale), "lengths", rounded[2]]
        inputs += [self.constant(f"{name}_zero", np.zeros(scale.shape, np.int8))]
        return self.node("QAttention", inputs, name, _MICROSOFT, num_heads=HEADS)

    def product(self, source: str, weights: Floats, bias: npt.NDArray[np.generic], name: str) -> str:
        """Adds source x weights + bias; weights (in, out)."""
        shift = self.constant(f"{name}_bias", bias)
        rounded = self._rounded(source, name)
        if rounded is None:
            self.node("MatMul", [source, self.constant(f"{name}_weights", weights)], f"{name}_plain")
            return self.node("Add", [f"{name}_plain", shift], name)
        small, scale = _seven_bits(weights)
        inputs = [
            rounded[0],
            self.constant(f"{name}_weights", small),
            rounded[1],
            self.constant(f"{name}_scale", scale),
        ]
        return self.node("MatMulIntegerToFloat", [*inputs, rounded[2], "", shift], name, _MICROSOFT)

    def _rounded(self, source: str, name: str) -> tuple[str, str, str] | None:
        """Rounds a product's input to 8 bits; returns the names of it, its scale and its zero, or None to keep float32."""
        place = len(self.inputs)
        self.inputs.append(source)
        if self.ranges is None:
            return None
        low, high = self.ranges[place]
        scale = np.float32((high - low) / 255)
        names = [self.constant(f"{name}_in_scale", np.asarray(scale))]
        names.append(self.constant(f"{name}_in_zero", np.asarray(np.rint(-low / scale), np.uint8)))
        return self.node("QuantizeLinear", [source, *names], f"{name}_in"), names[0], names[1]

    def model(self) -> bytes:
        """Returns the whole file."""
        outputs = ["logits", *(self.inputs if self.ranges is None else [])]
        ends = [(_OUTPUT, _value(name, _FLOAT, "bs*")) for name in outputs]
        begins = [("ids", _INT64, "bs"), ("positions", _INT64, "s"), ("lengths", _INT32, "b")]
        values = [(_INPUT, _value(*begin)) for begin in begins]
        graph = write([*self.fields, (_NAME, b"names"), *values, *ends])
        opsets = [write([(1, domain), (2, version)]) for domain, version in ((b"", 18), (_MICROSOFT, 1))]
        return write([(_VERSION, 9), (_GRAPH, graph), *((_OPSET, opset) for opset in opsets)])


def _attribute(name: str, value: float) -> bytes:
    if isinstance(value, int):
        return write([(1, name.encode()), (3, value), (20, 2)])
    return write([(1, name.encode()), float_field(2, value), (20, 1)])


def _value(name: str, kind: int, axes: str) -> bytes:
    """Returns a ValueInfoProto; each letter names an axis, * is an axis without a name."""
    shape = [(1, write([(2, axis.encode())] if axis != "*" else [])) for axis in axes]
    return write([(1, name.encode()), (2, write([(1, write([(1, kind), (2, write(shape))]))]))])
