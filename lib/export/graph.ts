import { toHalf } from "./half.js";
import {
  type Attribute,
  attributeTypes,
  type DataType,
  dataTypes,
  type Dimension,
  type GraphProto,
  type Node,
  type Tensor,
  type ValueInfo,
} from "./onnx_format.js";

type AttributeValue = number | string | readonly number[] | { float: number } | GraphProto;

/** A value of the graph: the output of a node, a constant or an input. */
export type Value = string;

/** An ONNX graph as it is put together, from the inputs to the outputs. */
export class Graph {
  #nodes: Node[] = [];
  readonly constants: Tensor[] = [];
  readonly inputs: ValueInfo[] = [];
  readonly outputs: ValueInfo[] = [];
  readonly #names = new Map<string, number>();

  get nodes(): readonly Node[] {
    return this.#nodes;
  }

  input(name: string, type: DataType, shape: readonly (number | string)[], docString: string): Value {
    this.inputs.push(valueInfo(name, type, shape, docString));
    return name;
  }

  /** Gives a value the name of an output. */
  output(value: Value, name: string, type: DataType, shape: readonly (number | string)[], docString: string): void {
    this.#nodes.push({ name, opType: "Identity", input: [value], output: [name], attribute: [] });
    this.outputs.push(valueInfo(name, type, shape, docString));
  }

  /** Adds a node with one output, which is returned. */
  node(opType: string, inputs: readonly Value[], attributes: Record<string, AttributeValue> = {}): Value {
    const name = this.#unique(opType);
    this.#nodes.push({
      name,
      opType,
      input: inputs,
      output: [name],
      attribute: Object.entries(attributes).map(([key, value]) => attribute(key, value)),
    });
    return name;
  }

  /**
   * Adds a loop of `count` turns and returns what the last one made. `body` adds the nodes of a turn, which may use every
   * value from outside, and returns what the next turn gets; the first one gets `start`.
   */
  loop(count: Value, start: Value, type: DataType, body: (turn: Value, carried: Value) => Value): Value {
    const outside = this.#nodes;
    const [turn, going, carried] = [this.#unique("turn"), this.#unique("going"), this.#unique("carried")] as const;
    this.#nodes = [];
    const next = body(turn, carried);
    const stillGoing = this.node("Identity", [going]);
    const graph = {
      name: this.#unique("body"),
      node: this.#nodes,
      initializer: [],
      input: [valueInfo(turn, "int64", []), valueInfo(going, "bool", []), valueInfo(carried, type)],
      output: [valueInfo(stillGoing, "bool", []), valueInfo(next, type)],
    };
    this.#nodes = outside;
    return this.node("Loop", [count, "", start], { body: graph });
  }

  /** Float32 numbers. */
  floats(name: string, dims: readonly number[], data: Float32Array): Value {
    return this.#constant(name, dims, "float32", data);
  }

  /** Numbers rounded to float16. Throws INVALID_OPTION for one that has no finite float16. */
  halves(name: string, dims: readonly number[], data: Float32Array): Value {
    return this.#constant(name, dims, "float16", toHalf(name, data));
  }

  doubles(name: string, dims: readonly number[], data: readonly number[]): Value {
    return this.#constant(name, dims, "float64", Float64Array.from(data));
  }

  integers(name: string, dims: readonly number[], data: readonly number[]): Value {
    return this.#constant(name, dims, "int64", BigInt64Array.from(data.map(BigInt)));
  }

  /** One float32 number without dimensions. */
  scalar(value: number): Value {
    return this.floats("scalar", [], Float32Array.of(value));
  }

  reshape(value: Value, shape: readonly number[]): Value {
    return this.node("Reshape", [value, this.integers("shape", [shape.length], shape)]);
  }

  cast(value: Value, type: DataType): Value {
    return this.node("Cast", [value], { to: dataTypes[type] });
  }

  #constant(name: string, dims: readonly number[], type: DataType, data: NodeJS.TypedArray): Value {
    const unique = this.#unique(name);
    const rawData = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.constants.push({ name: unique, dims, dataType: dataTypes[type], rawData });
    return unique;
  }

  #unique(name: string): string {
    const count = this.#names.get(name) ?? 0;
    this.#names.set(name, count + 1);
    return count === 0 ? name : `${name}_${count}`;
  }
}

function attribute(name: string, value: AttributeValue): Attribute {
  if (typeof value === "number") return { name, type: attributeTypes.int, i: value };
  if (typeof value === "string") return { name, type: attributeTypes.string, s: Buffer.from(value) };
  if ("float" in value) return { name, type: attributeTypes.float, f: value.float };
  if ("node" in value) return { name, type: attributeTypes.graph, g: value };
  return { name, type: attributeTypes.ints, ints: value };
}

/** Without a shape, where that is left to whoever reads the file. */
function valueInfo(name: string, type: DataType, shape?: readonly (number | string)[], docString = ""): ValueInfo {
  const elemType = dataTypes[type];
  if (shape === undefined) return { name, docString, type: { tensorType: { elemType } } };
  const dim = shape.map((size): Dimension => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name, docString, type: { tensorType: { elemType, shape: { dim } } } };
}
