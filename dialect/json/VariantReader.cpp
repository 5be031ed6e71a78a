// SPDX-License-Identifier: Apache-2.0
//
// JSON text to variants. Checks what only JSON can get wrong: fields, kinds and names. All other rules are those of the
// attributes' verifiers, whose messages begin with a path inside the attribute and are given here the path of the
// attribute.

#include "dialect/json/JsonTree.h"
#include "dialect/json/VariantJson.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Threading.h"

using namespace mlir;
using namespace mlir::tpa;
using mlir::tpa::detail::JsonNode;
using Kind = JsonNode::Kind;

namespace {

constexpr llvm::StringLiteral extent = "an integer between 1 and 1048576";
constexpr llvm::StringLiteral positive = "a finite number > 0";
constexpr llvm::StringLiteral floats = "f64, f32, bf16, f16";

/// The name among `names` (separated by ", ") that differs least from `name`, or nothing where none is near.
std::string suggestion(StringRef name, StringRef names) {
  StringRef nearest;
  unsigned distance = std::min<unsigned>(3, name.size() / 2 + 1);
  SmallVector<StringRef> list;
  names.split(list, ", ");
  for (StringRef candidate : list)
    if (unsigned d = candidate.edit_distance_insensitive(name); d < distance) {
      nearest = candidate;
      distance = d;
    }
  return nearest.empty() ? "" : "; did you mean " + nearest.str() + "?";
}

/// `path` followed by `.key`, or by `["key"]` where the key is not a plain name.
std::string member(StringRef path, StringRef key) {
  bool plain = !key.empty() && llvm::all_of(key, [](char c) { return llvm::isAlnum(c) || c == '_'; });
  return plain ? (path + "." + key).str() : (path + "[" + tpa::detail::quoted(key) + "]").str();
}

class VariantReader {
public:
  VariantReader(StringRef fileName, MLIRContext &context) : fileName(fileName), context(context) {}

  /// The variant, or null and at least one error.
  VariantAttr read(const JsonNode &root);

  std::vector<std::string> errors;

private:
  /// An object of the text whose fields are read by name.
  struct Object {
    const JsonNode *node = nullptr;
    std::string path;
    size_t errorsBefore = 0;
  };

  void report(const Twine &message) { errors.push_back((fileName + ": " + message).str()); }
  void fail(const Twine &path, const Twine &found, const Twine &accepted) {
    report(path + ": found " + found + ", accepted: " + accepted);
  }
  /// No error was found since the object was opened.
  bool clean(const Object &object) const { return errors.size() == object.errorsBefore; }

  /// Checks that `node` is an object with no other fields than `names` and none twice; nothing where it is not one.
  std::optional<Object> openObject(const JsonNode &node, const Twine &path, StringRef names, StringRef accepted);
  /// The field's value, or null where it is absent.
  const JsonNode *find(const Object &object, StringRef name) const;
  /// As above; absent is an error.
  const JsonNode *require(const Object &object, StringRef name, StringRef accepted);

  // Each returns a value of no meaning after an error.
  int64_t toInteger(const JsonNode &node, const Twine &path, StringRef accepted);
  int64_t readInteger(const Object &object, StringRef name, StringRef accepted);
  int64_t readInteger(const Object &object, StringRef name, StringRef accepted, int64_t byDefault);
  FloatAttr readNumber(const Object &object, StringRef name);
  bool readBoolean(const Object &object, StringRef name, bool byDefault);
  template <typename Enum> std::optional<Enum> toEnum(const JsonNode &node, const Twine &path, StringRef names);
  template <typename Enum>
  Enum readEnum(const Object &object, StringRef name, StringRef names, std::optional<Enum> byDefault);
  Type readType(const Object &object, StringRef name, StringRef names, Type byDefault);

  // Each returns null after an error.
  HeadsAttr readHeads(const Object &object);
  HeadFactorAttr readHeadFactor(const JsonNode &node, const Twine &path);
  TokenFactorAttr readTokenFactor(const JsonNode &node, const Twine &path);
  FactorizationAttr readDense(const Object &object, HeadsAttr heads);
  FactorizationAttr readFactored(const Object &object);
  FactorizationAttr readFactorization(const Object &parent, StringRef name, HeadsAttr heads);
  RopeAttr readRope(const JsonNode &node);
  TypesAttr readTypes(const JsonNode *node);

  /// The attribute, or null and the verifier's message.
  template <typename Attr, typename... Args> Attr build(std::string &message, Args... args) {
    // Other threads may be using the context; their diagnostics go on to the handlers below this one.
    ScopedDiagnosticHandler handler(&context, [&, thread = llvm::get_threadid()](Diagnostic &diagnostic) {
      if (llvm::get_threadid() != thread)
        return failure();
      message = diagnostic.str();
      return success();
    });
    return Attr::getChecked([&] { return emitError(UnknownLoc::get(&context)); }, &context, args...);
  }
  /// As above, with the message reported below `path`.
  template <typename Attr, typename... Args> Attr buildAt(const Twine &path, Args... args) {
    std::string message;
    Attr attribute = build<Attr>(message, args...);
    if (!attribute)
      report(path + "." + message);
    return attribute;
  }

  StringRef fileName;
  MLIRContext &context;
};

} // namespace

// --- Fields ---

std::optional<VariantReader::Object> VariantReader::openObject(const JsonNode &node, const Twine &path, StringRef names,
                                                               StringRef accepted) {
  if (!node.is(Kind::object)) {
    fail(path, node.describe(), accepted);
    return std::nullopt;
  }
  Object object{&node, path.str(), errors.size()};
  SmallVector<StringRef> known;
  names.split(known, ", ");
  for (auto [i, key] : llvm::enumerate(node.keys)) {
    ArrayRef<std::string> before = ArrayRef(node.keys).take_front(i);
    if (llvm::count(before, key) == 1)
      fail(member(object.path, key), "the field twice", "once");
    else if (!llvm::is_contained(before, key) && !llvm::is_contained(known, key))
      fail(member(object.path, key), "an unknown field", names + suggestion(key, names));
  }
  return object;
}

const JsonNode *VariantReader::find(const Object &object, StringRef name) const {
  auto key = llvm::find(object.node->keys, name);
  return key == object.node->keys.end() ? nullptr : &object.node->elements[key - object.node->keys.begin()];
}

const JsonNode *VariantReader::require(const Object &object, StringRef name, StringRef accepted) {
  const JsonNode *node = find(object, name);
  if (!node)
    fail(member(object.path, name), "nothing (the field is required)", accepted);
  return node;
}

int64_t VariantReader::toInteger(const JsonNode &node, const Twine &path, StringRef accepted) {
  if (!node.is(Kind::integer))
    fail(path, node.describe(), accepted);
  return node.integer;
}

int64_t VariantReader::readInteger(const Object &object, StringRef name, StringRef accepted) {
  const JsonNode *node = require(object, name, accepted);
  return node ? toInteger(*node, member(object.path, name), accepted) : 0;
}

int64_t VariantReader::readInteger(const Object &object, StringRef name, StringRef accepted, int64_t byDefault) {
  const JsonNode *node = find(object, name);
  return node ? toInteger(*node, member(object.path, name), accepted) : byDefault;
}

FloatAttr VariantReader::readNumber(const Object &object, StringRef name) {
  const JsonNode *node = find(object, name);
  if (!node)
    return {};
  if (!node->is(Kind::integer) && !node->is(Kind::number)) {
    fail(member(object.path, name), node->describe(), positive);
    return {};
  }
  return FloatAttr::get(Float64Type::get(&context), node->number);
}

bool VariantReader::readBoolean(const Object &object, StringRef name, bool byDefault) {
  const JsonNode *node = find(object, name);
  if (!node)
    return byDefault;
  if (!node->is(Kind::boolean))
    fail(member(object.path, name), node->describe(), "true, false");
  return node->boolean;
}

template <typename Enum>
std::optional<Enum> VariantReader::toEnum(const JsonNode &node, const Twine &path, StringRef names) {
  std::optional<Enum> value;
  if (node.is(Kind::string))
    value = symbolizeEnum<Enum>(StringRef(node.text));
  if (!value)
    fail(path, node.describe(), names + suggestion(node.text, names));
  return value;
}

template <typename Enum>
Enum VariantReader::readEnum(const Object &object, StringRef name, StringRef names, std::optional<Enum> byDefault) {
  const JsonNode *node = byDefault ? find(object, name) : require(object, name, names);
  std::optional<Enum> value = node ? toEnum<Enum>(*node, member(object.path, name), names) : byDefault;
  return value.value_or(Enum());
}

Type VariantReader::readType(const Object &object, StringRef name, StringRef names, Type byDefault) {
  const JsonNode *node = find(object, name);
  if (!node)
    return byDefault;
  std::pair<StringRef, Type> types[] = {
      {"f64", Float64Type::get(&context)},           {"f32", Float32Type::get(&context)},
      {"bf16", BFloat16Type::get(&context)},         {"f16", Float16Type::get(&context)},
      {"f8E4M3FN", Float8E4M3FNType::get(&context)}, {"i8", IntegerType::get(&context, 8)}};
  if (node->is(Kind::string))
    for (auto [typeName, type] : types)
      if (node->text == typeName)
        return type;
  fail(member(object.path, name), node->describe(), names + suggestion(node->text, names));
  return byDefault;
}

// --- Attributes ---

HeadsAttr VariantReader::readHeads(const Object &object) {
  size_t before = errors.size();
  int64_t total = readInteger(object, "heads", extent);
  int64_t begin = 0;
  int64_t end = total;
  if (const JsonNode *range = find(object, "head_range")) {
    constexpr llvm::StringLiteral accepted = "[begin, end], two integers with 0 <= begin < end <= heads";
    if (range->is(Kind::array) && range->elements.size() == 2) {
      begin = toInteger(range->elements[0], "$.head_range[0]", "an integer, the first head computed here");
      end = toInteger(range->elements[1], "$.head_range[1]", "an integer, one past the last head computed here");
    } else {
      fail("$.head_range", range->describe(), accepted);
    }
  }
  return errors.size() == before ? buildAt<HeadsAttr>("$", total, begin, end) : HeadsAttr();
}

HeadFactorAttr VariantReader::readHeadFactor(const JsonNode &node, const Twine &path) {
  std::optional<Object> object =
      openObject(node, path, "source, map, function", "an object with source and, where they apply, map or function");
  if (!object)
    return {};
  auto source = readEnum<Source>(*object, "source", "contextual, learned, fixed", std::nullopt);
  std::optional<HeadMap> map;
  if (const JsonNode *value = find(*object, "map"))
    map = toEnum<HeadMap>(*value, path + ".map", "one_hot, groups, ones");
  auto function = readEnum<HeadFunction>(*object, "function", "identity, sigmoid, softmax", HeadFunction::identity);
  return clean(*object) ? buildAt<HeadFactorAttr>(path, source, map, function) : HeadFactorAttr();
}

TokenFactorAttr VariantReader::readTokenFactor(const JsonNode &node, const Twine &path) {
  std::optional<Object> object = openObject(node, path, "source, size", "an object with source and size");
  if (!object)
    return {};
  auto source = readEnum<Source>(*object, "source", "contextual, learned, shared", std::nullopt);
  int64_t size = readInteger(*object, "size", extent);
  return clean(*object) ? buildAt<TokenFactorAttr>(path, source, size) : TokenFactorAttr();
}

FactorizationAttr VariantReader::readDense(const Object &object, HeadsAttr heads) {
  for (const std::string &key : object.node->keys)
    if (key != "dense")
      fail(member(object.path, key), "a field beside dense", "dense alone");
  int64_t features = readInteger(object, "dense", extent);
  if (!clean(object))
    return {};
  // The verifier speaks of the token factor's size, which is the value of `dense` here.
  std::string message;
  if (!build<TokenFactorAttr>(message, Source::contextual, features)) {
    report(object.path + ".dense: " + StringRef(message).split(": ").second);
    return {};
  }
  // Without valid heads the rank is not known; their error is reported already.
  return heads ? buildAt<FactorizationAttr>(object.path, heads.getTotal(), features) : FactorizationAttr();
}

FactorizationAttr VariantReader::readFactored(const Object &object) {
  int64_t rank = readInteger(object, "rank", extent);
  bool normalized = readBoolean(object, "normalized", true);
  HeadFactorAttr head;
  if (const JsonNode *node = require(object, "head", "an object with source"))
    head = readHeadFactor(*node, object.path + ".head");
  SmallVector<TokenFactorAttr> tokens;
  constexpr llvm::StringLiteral list = "a list of objects with source and size";
  if (const JsonNode *node = require(object, "token", list)) {
    if (!node->is(Kind::array))
      fail(object.path + ".token", node->describe(), list);
    else
      for (auto [i, element] : llvm::enumerate(node->elements))
        tokens.push_back(readTokenFactor(element, object.path + ".token[" + Twine(i) + "]"));
  }
  return clean(object) ? buildAt<FactorizationAttr>(object.path, rank, normalized, head, ArrayRef(tokens))
                       : FactorizationAttr();
}

FactorizationAttr VariantReader::readFactorization(const Object &parent, StringRef name, HeadsAttr heads) {
  constexpr llvm::StringLiteral accepted = "an object with rank, head and token, or with dense alone";
  const JsonNode *node = require(parent, name, accepted);
  if (!node)
    return {};
  std::optional<Object> object =
      openObject(*node, member(parent.path, name), "rank, normalized, head, token, dense", accepted);
  if (!object)
    return {};
  return find(*object, "dense") ? readDense(*object, heads) : readFactored(*object);
}

RopeAttr VariantReader::readRope(const JsonNode &node) {
  std::optional<Object> object =
      openObject(node, "$.rope", "layout, direction, base, d_rot, offset, inv_freq, amplitude",
                 "an object with d_rot (leave rope out for none)");
  if (!object)
    return {};
  auto layout = readEnum<RopeLayout>(*object, "layout", "half, interleaved", RopeLayout::half);
  int64_t direction = readInteger(*object, "direction", "1, -1", -1);
  int64_t dRot = readInteger(*object, "d_rot", "an even integer between 2 and 1048576");
  int64_t offset = readInteger(*object, "offset", "an integer between 0 and 1048576", 0);
  FloatAttr base = readNumber(*object, "base");
  DenseF64ArrayAttr invFreq;
  if (const JsonNode *value = find(*object, "inv_freq")) {
    SmallVector<double> frequencies;
    if (!value->is(Kind::array))
      fail("$.rope.inv_freq", value->describe(), "a list of d_rot/2 finite numbers");
    else
      for (auto [i, element] : llvm::enumerate(value->elements)) {
        if (!element.is(Kind::integer) && !element.is(Kind::number))
          fail("$.rope.inv_freq[" + Twine(i) + "]", element.describe(), "a finite number");
        frequencies.push_back(element.number);
      }
    invFreq = DenseF64ArrayAttr::get(&context, frequencies);
  }
  if (!base && !invFreq)
    base = FloatAttr::get(Float64Type::get(&context), 10000.0);
  FloatAttr amplitude = readNumber(*object, "amplitude");
  return clean(*object) ? buildAt<RopeAttr>("$.rope", layout, direction, dRot, offset, base, invFreq, amplitude)
                        : RopeAttr();
}

TypesAttr VariantReader::readTypes(const JsonNode *node) {
  JsonNode none(Kind::object);
  std::optional<Object> object = openObject(node ? *node : none, "$.types", "activation, head, token, output, compute",
                                            "an object with activation, head, token, output or compute");
  if (!object)
    return {};
  Type bf16 = BFloat16Type::get(&context);
  Type activation = readType(*object, "activation", floats, bf16);
  Type head = readType(*object, "head", floats, bf16);
  Type token = readType(*object, "token", "f64, f32, bf16, f16, f8E4M3FN, i8", bf16);
  Type output = readType(*object, "output", floats, bf16);
  Type compute = readType(*object, "compute", "f32, f64", Float32Type::get(&context));
  return clean(*object) ? buildAt<TypesAttr>("$.types", activation, head, token, output, compute) : TypesAttr();
}

VariantAttr VariantReader::read(const JsonNode &root) {
  if (!root.is(Kind::object)) {
    fail("$", root.describe(), "an object");
    return {};
  }
  // Fields of another version mean nothing here, so its errors stand alone.
  constexpr llvm::StringLiteral version = "1, the version of the format";
  Object versionOnly{&root, "$", 0};
  if (const JsonNode *node = require(versionOnly, "tpac_variant", version);
      node && !(node->is(Kind::integer) && node->integer == 1))
    fail("$.tpac_variant", node->describe(), version);
  if (!clean(versionOnly))
    return {};

  Object object = *openObject(root, "$",
                              "tpac_variant, name, heads, head_range, q, k, v, rope, v_sees, scale, softcap, causal, "
                              "window, query_precision, types, weights",
                              "an object");
  StringAttr name;
  constexpr llvm::StringLiteral names = "a letter, then letters, digits, '_', '.' or '-'";
  if (const JsonNode *node = require(object, "name", names)) {
    if (!node->is(Kind::string))
      fail("$.name", node->describe(), names);
    name = StringAttr::get(&context, node->text);
  }
  HeadsAttr heads = readHeads(object);
  FactorizationAttr q = readFactorization(object, "q", heads);
  FactorizationAttr k = readFactorization(object, "k", heads);
  FactorizationAttr v = readFactorization(object, "v", heads);
  RopeAttr rope;
  if (const JsonNode *node = find(object, "rope"))
    rope = readRope(*node);
  std::optional<ValueSees> vSees;
  if (const JsonNode *node = find(object, "v_sees"))
    vSees = toEnum<ValueSees>(*node, "$.v_sees", "rotated, unrotated");
  FloatAttr scale = readNumber(object, "scale");
  FloatAttr softcap = readNumber(object, "softcap");
  bool causal = readBoolean(object, "causal", true);
  std::optional<int64_t> window;
  if (const JsonNode *node = find(object, "window"))
    window = toInteger(*node, "$.window", "an integer >= 1");
  auto queryPrecision = readEnum<QueryPrecision>(object, "query_precision", "full, storage", QueryPrecision::full);
  TypesAttr types = readTypes(find(object, "types"));
  auto rows = WeightRows::head_major;
  if (const JsonNode *node = find(object, "weights"))
    if (std::optional<Object> weights =
            openObject(*node, "$.weights", "head_factor_rows", "an object with head_factor_rows"))
      rows = readEnum<WeightRows>(*weights, "head_factor_rows", "head_major, rank_major", WeightRows::head_major);
  if (!clean(object))
    return {};

  std::string message;
  auto variant = build<VariantAttr>(message, name, heads, q, k, v, rope, vSees, scale, softcap, causal, window,
                                    queryPrecision, rows, types);
  if (!variant) {
    // Where K was given as {"dense": D}, that field is its list of token factors.
    StringRef rest = message;
    bool dense = find(object, "k")->elements.size() == 1 && rest.consume_front("k.token:");
    report("$." + (dense ? "k.dense:" + rest : Twine(message)));
  }
  return variant;
}

llvm::Expected<VariantAttr> tpa::readVariant(StringRef jsonText, StringRef fileName, MLIRContext &context) {
  llvm::Expected<JsonNode> root = tpa::detail::parseJson(jsonText, fileName);
  if (!root)
    return root.takeError();
  context.getOrLoadDialect<TPADialect>();
  VariantReader reader(fileName, context);
  if (VariantAttr variant = reader.read(*root))
    return variant;
  return llvm::createStringError(llvm::join(reader.errors, "\n"));
}
