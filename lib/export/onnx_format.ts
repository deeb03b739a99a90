/**
 * The part of the ONNX format that is written here: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto (names, field
 * numbers, proto2). Only the export loads this file, and with it protobufjs.
 */
import { Root, type Type } from "protobufjs/light";

/** AttributeProto.AttributeType. */
export const attributeTypes = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const;

/** TensorProto.DataType. */
export const dataTypes = { float32: 1, uint8: 2, int64: 7, bool: 9, float16: 10, float64: 11 } as const;
export type DataType = keyof typeof dataTypes;

export interface Attribute {
  name: string;
  type: number;
  f?: number;
  i?: number;
  s?: Uint8Array;
  g?: GraphProto;
  ints?: readonly number[];
}

export interface Node {
  name: string;
  opType: string;
  input: readonly string[];
  output: readonly string[];
  attribute: readonly Attribute[];
}

export interface Tensor {
  name: string;
  dims: readonly number[];
  dataType: number;
  /** Little-endian, row-major. */
  rawData: Uint8Array;
}

/** A number, or the name of a size that is not fixed. */
export type Dimension = { dimValue: number } | { dimParam: string };

export interface ValueInfo {
  name: string;
  docString: string;
  type: { tensorType: { elemType: number; shape?: { dim: readonly Dimension[] } } };
}

export interface Property {
  key: string;
  value: string;
}

export interface GraphProto {
  name: string;
  node: readonly Node[];
  initializer: readonly Tensor[];
  input: readonly ValueInfo[];
  output: readonly ValueInfo[];
}

export interface OnnxModel {
  irVersion: number;
  producerName: string;
  producerVersion: string;
  docString: string;
  opsetImport: readonly { domain: string; version: number }[];
  graph: GraphProto;
  metadataProps: readonly Property[];
}

type Rule = "repeated" | "optional";
const field = (id: number, type: string, rule: Rule = "optional"): object => ({ id, type, rule });
const list = (id: number, type: string): object => field(id, type, "repeated");

// Proto2 writes a field whose value is 0: readers tell an attribute that is 0 from one without a value.
const message = (fields: Record<string, object>): object => ({ edition: "proto2", fields });

const messages = {
  ModelProto: message({
    irVersion: field(1, "int64"),
    producerName: field(2, "string"),
    producerVersion: field(3, "string"),
    docString: field(6, "string"),
    graph: field(7, "GraphProto"),
    opsetImport: list(8, "OperatorSetIdProto"),
    metadataProps: list(14, "StringStringEntryProto"),
  }),
  OperatorSetIdProto: message({ domain: field(1, "string"), version: field(2, "int64") }),
  StringStringEntryProto: message({ key: field(1, "string"), value: field(2, "string") }),
  GraphProto: message({
    node: list(1, "NodeProto"),
    name: field(2, "string"),
    initializer: list(5, "TensorProto"),
    input: list(11, "ValueInfoProto"),
    output: list(12, "ValueInfoProto"),
  }),
  NodeProto: message({
    input: list(1, "string"),
    output: list(2, "string"),
    name: field(3, "string"),
    opType: field(4, "string"),
    attribute: list(5, "AttributeProto"),
  }),
  AttributeProto: message({
    name: field(1, "string"),
    f: field(2, "float"),
    i: field(3, "int64"),
    s: field(4, "bytes"),
    g: field(6, "GraphProto"),
    ints: list(8, "int64"),
    type: field(20, "int32"),
  }),
  TensorProto: message({
    dims: list(1, "int64"),
    dataType: field(2, "int32"),
    name: field(8, "string"),
    rawData: field(9, "bytes"),
  }),
  ValueInfoProto: message({
    name: field(1, "string"),
    type: field(2, "TypeProto"),
    docString: field(3, "string"),
  }),
  TypeProto: message({ tensorType: field(1, "TensorTypeProto") }),
  TensorTypeProto: message({ elemType: field(1, "int32"), shape: field(2, "TensorShapeProto") }),
  TensorShapeProto: message({ dim: list(1, "DimensionProto") }),
  DimensionProto: message({ dimValue: field(1, "int64"), dimParam: field(2, "string") }),
};

let modelType: Type | undefined;
function modelProto(): Type {
  return (modelType ??= Root.fromJSON({ edition: "proto2", nested: messages } as Parameters<typeof Root.fromJSON>[0])
    .resolveAll()
    .lookupType("ModelProto"));
}

/** The bytes of an ONNX file. */
export const encodeModel = (model: OnnxModel): Uint8Array => modelProto().encode(model).finish();

/** What a file's bytes can be continued by: a repeated field of protobuf goes on where it comes again. */
export const encodeProperties = (properties: readonly Property[]): Uint8Array =>
  modelProto().encode({ metadataProps: properties }).finish();

/** Reads what encodeModel wrote, and of other ONNX files the same fields. Throws protobufjs's errors. The tensors are views of `bytes`. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  const type = modelProto();
  return type.toObject(type.decode(bytes), { longs: Number, arrays: true }) as OnnxModel;
}
