// SPDX-License-Identifier: Apache-2.0
//
// One member: append in chunks, compare the cache; decode (and prefill) on what was stored; split, decode both parts
// and merge. The oracle is always fed the values that the tested call was given.

#include "tests/property/Check.h"

#include "tests/oracle/Compare.h"
#include "tests/property/Buffer.h"
#include "tests/property/Random.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>

namespace property {
namespace {

using oracle::Source;
using oracle::Tensor;
using oracle::Tensors;
using Buffers = std::map<std::string, Buffer>;

constexpr double infinity = std::numeric_limits<double>::infinity();

using oracle::roundingUnits;

[[noreturn]] void fail(const std::string &message) { throw std::runtime_error(message); }

bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool isCache(const std::string &name) { return endsWith(name, "_cache"); }

/// A cache of a token factor of V: the ones that may be in blocks of tokens.
bool isValueTokenCache(const std::string &name) { return name.starts_with("v_token") && isCache(name); }

/// Where the elements of a cache stand, for one call: in pages, V's token caches in blocks of tokens.
struct Layout {
  tpac::CacheStorage storage;
  /// Page `i` of request `b`; -1 where it has none.
  std::vector<std::vector<int64_t>> pages;
  int64_t pageCount = 0;

  bool changes(const std::string &name) const {
    return storage.pageSize != 0 || (storage.valueBlock != 0 && isValueTokenCache(name));
  }
  /// Shape and index of [b, m, ...], token by token. No index where the token's page does not exist.
  std::vector<int64_t> shapeOf(const std::string &name, std::vector<int64_t> shape) const {
    if (storage.pageSize != 0)
      shape[0] = pageCount, shape[1] = storage.pageSize;
    if (storage.valueBlock != 0 && isValueTokenCache(name)) {
      shape[1] /= storage.valueBlock;
      shape.push_back(storage.valueBlock);
    }
    return shape;
  }
  std::optional<Buffer::Index> indexOf(const std::string &name, Buffer::Index index) const {
    if (storage.pageSize != 0) {
      const int64_t page = pages[static_cast<size_t>(index[0])][static_cast<size_t>(index[1] / storage.pageSize)];
      if (page < 0)
        return std::nullopt;
      index[0] = page;
      index[1] %= storage.pageSize;
    }
    if (storage.valueBlock != 0 && isValueTokenCache(name)) {
      index.push_back(index[1] % storage.valueBlock);
      index[1] /= storage.valueBlock;
    }
    return index;
  }
};

/// One call's view of the requests.
struct Requests {
  std::vector<int64_t> tokens;
  std::vector<int64_t> lengths;
  int64_t leadingRows = 0;
  int64_t trailingRows = 0;

  int64_t rows() const {
    int64_t sum = leadingRows + trailingRows;
    for (int64_t count : tokens)
      sum += count;
    return sum;
  }
  int64_t start(size_t request) const {
    int64_t sum = leadingRows;
    for (size_t b = 0; b < request; ++b)
      sum += tokens[b];
    return sum;
  }
  /// Row `t` belongs to a request.
  bool owns(int64_t t) const { return t >= leadingRows && t < rows() - trailingRows; }
  /// Row `t`, which belongs to a request, as a number of that request's tokens, where these rows are appended.
  int64_t tokenOf(int64_t t) const {
    size_t request = 0;
    while (t >= start(request + 1))
      ++request;
    return lengths[request] + t - start(request);
  }
};

class Run {
public:
  Run(const Member &member, const Route &route)
      : member(member), route(route), workload(member.workload), variant(oracle::parseVariant(member.variant)),
        random(member.seed ^ 0x5851f42d4c957f2d) {
    for (int64_t position : workload.firstPositions)
      farthest = std::max(farthest, position + workload.capacity() + 64);
    Random layout(member.seed ^ 0x2545f4914f6cdd1d);
    // GPU packs store tokens as rows.
    bool isFused = route.path == tpac::CodePath::fused, isGpu = route.target.starts_with("sm_");
    bool canHaveBlocks =
        isFused && !isGpu && std::ranges::any_of(variant.v.token, [](const oracle::TokenFactor &factor) {
          return factor.source == Source::contextual;
        });
    if (canHaveBlocks && layout.chance(50))
      storage.valueBlock = int64_t{1} << layout.range(1, 6);
    if (layout.chance(50)) {
      constexpr int64_t sizes[] = {1, 7, 24, 16, 48, 256};
      storage.pageSize =
          storage.valueBlock != 0 ? storage.valueBlock * layout.range(1, 4) : sizes[layout.range(isGpu ? 3 : 0, 5)];
    }
    const int64_t unit = std::max<int64_t>({1, storage.valueBlock, storage.pageSize});
    capacity = (workload.capacity() + unit - 1) / unit * unit;
  }

  Coverage run() {
    countWorkload();
    std::vector<tpac::Phase> phases = {tpac::Phase::append, tpac::Phase::decode};
    if (workload.prefill)
      phases.push_back(tpac::Phase::prefill);
    program = Program::make(route, member.variant.dump(), phases, storage);
    for (tpac::Phase phase : phases)
      checkSignature(variant, program->signature(phase), storage);
    appendAll();
    sharePages();
    drawQueries(variant);
    attend(tpac::Phase::decode);
    if (workload.prefill)
      attend(tpac::Phase::prefill);
    if (workload.merge)
      mergeParts();
    return coverage;
  }

  /// How the program computes, as a line to be added to a message.
  std::string description() const {
    return program && !program->description().empty() ? "\n" + program->description() : "";
  }

private:
  // ---- Calls ----

  Buffer makeBuffer(const oracle::TensorSpec &spec, const oracle::Sizes &sizes) {
    bool isCache = spec.shape.size() > 1 && spec.shape[1].symbol == "capacity";
    return Buffer(spec.type, sizes.of(spec.shape), workload.strided, isCache, random);
  }

  /// Calls `phase` of `called`: every tensor of its signature is taken from `buffers`, whose caches are one piece per
  /// request, token by token. Caches stored otherwise are made for the call alone, with poison wherever the other
  /// layout has no element.
  void call(const Program &called, tpac::Phase phase, const oracle::Sizes &sizes, Buffers &buffers) {
    const tpac::PhaseSignature &signature = called.signature(phase);
    Layout layout{storage, {}, 0};
    PageTable table;
    if (storage.pageSize != 0 && phase != tpac::Phase::merge)
      table = drawPages(phase, buffers, layout);
    std::vector<int64_t> values;
    for (const std::string &size : signature.sizes)
      values.push_back(size == "pages"                 ? layout.pageCount
                       : size == tpac::listedPagesName ? table.listed
                                                       : sizes.of(oracle::Dimension{size, 0}));
    std::vector<Argument> arguments;
    Buffers otherwise;
    for (const tpac::PhaseTensor &tensor : signature.tensors) {
      if (tpac::saysPages(tensor.name)) {
        arguments.push_back(table.argument(tensor.name));
        continue;
      }
      Buffer *buffer = &buffers.at(tensor.name);
      buffer->remember();
      if (isCache(tensor.name) && layout.changes(tensor.name)) {
        Buffer &stored = otherwise[tensor.name];
        stored = Buffer(buffer->type(), layout.shapeOf(tensor.name, buffer->shape()), workload.strided,
                        /*hasRows=*/true, random);
        buffer->forEach([&](const Buffer::Index &index) {
          if (auto to = layout.indexOf(tensor.name, index))
            stored.copyElement(*to, *buffer, index);
        });
        stored.remember();
        buffer = &stored;
      }
      arguments.push_back(
          {tensor.name, buffer->data(), buffer->shape(), {buffer->strides().begin(), buffer->strides().end()}});
    }
    called.call(phase, values, arguments);
    for (const auto &[name, buffer] : {std::pair("block_table", &table.entries), {"page_starts", &table.starts}})
      if (*buffer)
        if (std::string change = (*buffer)->changed([](const Buffer::Index &) { return false; }); !change.empty())
          fail(std::string(tpac::phaseName(phase)) + ": " + name + ": " + change);
    std::set<int64_t> used;
    for (const std::vector<int64_t> &pages : layout.pages)
      used.insert(pages.begin(), pages.end());
    for (const auto &[name, stored] : otherwise) {
      Buffer &buffer = buffers.at(name);
      buffer.forEach([&](const Buffer::Index &index) {
        if (auto from = layout.indexOf(name, index))
          buffer.copyElement(index, stored, *from);
      });
      std::string change =
          stored.changed([&](const Buffer::Index &index) { return storage.pageSize == 0 || used.contains(index[0]); });
      if (!change.empty())
        fail(std::string(tpac::phaseName(phase)) + ": " + name + " as stored: " + change);
    }
  }

  /// Which pages requests have: a table [batch, columns], or a list and where each request's part of it starts.
  struct PageTable {
    std::optional<Buffer> entries, starts;
    int64_t columns = 0, listed = 0;

    Argument argument(const std::string &name) {
      if (name == tpac::pageStartsName) {
        if (!starts)
          return {name, nullptr, {0}, {}};
        return {name, starts->data(), starts->shape(), stridesOf(*starts)};
      }
      std::vector<int64_t> strides = stridesOf(*entries);
      if (!starts)
        return {name, entries->data(), entries->shape(), strides};
      const int64_t step = strides.empty() ? 1 : strides[0];
      return {name, entries->data(), {listed, columns}, {step, step}};
    }
    static std::vector<int64_t> stridesOf(const Buffer &buffer) {
      return {buffer.strides().begin(), buffer.strides().end()};
    }
  };

  /// The same pages as a list. Behind those of each request, before the first and behind the last is an entry that is
  /// poison.
  PageTable listed(const Layout &layout) {
    PageTable table;
    std::vector<int64_t> entries = {-1}, starts = {1};
    for (const std::vector<int64_t> &row : layout.pages) {
      for (int64_t page : row)
        if (page >= 0)
          entries.push_back(page);
      entries.push_back(-1);
      starts.push_back(static_cast<int64_t>(entries.size()));
    }
    entries.push_back(-1);
    table.columns = capacity / storage.pageSize;
    table.listed = static_cast<int64_t>(entries.size());
    table.entries = Buffer(oracle::Type::i32, {table.listed}, workload.strided, /*hasRows=*/false, random);
    table.starts = Buffer(oracle::Type::i32, {static_cast<int64_t>(starts.size())}, workload.strided,
                          /*hasRows=*/false, random);
    for (size_t i = 0; i < entries.size(); ++i)
      if (entries[i] >= 0)
        table.entries->set({static_cast<int64_t>(i)}, static_cast<double>(entries[i]));
    for (size_t b = 0; b < starts.size(); ++b)
      table.starts->set({static_cast<int64_t>(b)}, static_cast<double>(starts[b]));
    return table;
  }

  /// Gives the requests of a call their pages, in any order and with others between them: up to the tokens that they
  /// have after it. The table's entries behind are poison. As a list in about half of the calls.
  PageTable drawPages(tpac::Phase phase, Buffers &buffers, Layout &layout) {
    const int64_t entries = capacity / storage.pageSize;
    PageTable table;
    table.entries = Buffer(oracle::Type::i32, {workload.batch(), entries}, workload.strided, /*hasRows=*/false, random);
    std::vector<int64_t> ends;
    for (int64_t b = 0; b < workload.batch(); ++b) {
      double tokens = phase == tpac::Phase::append
                          ? buffers.at("token_start").get({b + 1}) - buffers.at("token_start").get({b})
                          : 0;
      ends.push_back(static_cast<int64_t>(buffers.at("lengths").get({b}) + tokens));
    }
    std::vector<int64_t> order;
    for (int64_t end : ends)
      layout.pageCount += (end + storage.pageSize - 1) / storage.pageSize;
    layout.pageCount += random.range(1, 3);
    for (int64_t page = 0; page < layout.pageCount; ++page)
      order.insert(order.begin() + random.range(0, page), page);
    layout.pages.assign(ends.size(), std::vector<int64_t>(static_cast<size_t>(entries), -1));
    for (size_t b = 0; b < ends.size(); ++b)
      for (int64_t i = 0; i * storage.pageSize < ends[b]; ++i) {
        const bool isShared = phase != tpac::Phase::append && b == 1 && i < sharedPages;
        const int64_t page = isShared ? layout.pages[0][static_cast<size_t>(i)] : order.back();
        if (!isShared)
          order.pop_back();
        layout.pages[b][static_cast<size_t>(i)] = page;
        table.entries->set({static_cast<int64_t>(b), i}, static_cast<double>(page));
      }
    if (random.chance(50)) {
      table = listed(layout);
      ++coverage.pageLists;
    }
    table.entries->remember();
    if (table.starts)
      table.starts->remember();
    return table;
  }

  /// Two requests with the same first tokens: what requests have behind a common prompt. From here on these pages are
  /// one.
  void sharePages() {
    if (storage.pageSize == 0 || workload.batch() < 2)
      return;
    sharedPages = random.range(0, std::min(workload.length(0), workload.length(1)) / storage.pageSize);
    for (auto &[name, buffer] : buffers)
      if (isCache(name))
        buffer.forEach([&, &cache = buffer](const Buffer::Index &index) {
          if (index[0] != 1 || index[1] >= sharedPages * storage.pageSize)
            return;
          Buffer::Index from = index;
          from[0] = 0;
          cache.copyElement(index, cache, from);
        });
    coverage.sharedPages += sharedPages;
  }

  /// Fails where a tensor of `phase` changed outside of what its access and `mayChange` allow.
  void checkUntouched(std::string_view phase, const oracle::Variant &of, Buffers &buffers,
                      const std::function<bool(const Buffer::Index &)> &mayChange) {
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(of, phase)) {
      bool isInput = spec.access == "in";
      std::string change =
          buffers.at(spec.name).changed([&](const Buffer::Index &index) { return !isInput && mayChange(index); });
      if (!change.empty())
        fail(std::string(phase) + ": " + spec.name + ": " + change);
    }
  }

  // ---- Inputs ----

  void setRequests(Buffers &buffers, const Requests &requests) {
    for (size_t b = 0; b <= requests.tokens.size(); ++b)
      buffers.at("token_start").set({static_cast<int64_t>(b)}, static_cast<double>(requests.start(b)));
    for (size_t b = 0; b < requests.tokens.size(); ++b)
      buffers.at("lengths").set({static_cast<int64_t>(b)}, static_cast<double>(requests.lengths[b]));
  }

  /// Numbers for a factor: head factors of up to 3 where a function follows, rows of token factors of unlike sizes
  /// where each row has its own scale, now and then a row of zeros. Rows of no request stay poisoned.
  void fillFactor(const std::string &name, Buffer &buffer, const oracle::Factorization &side, bool learned,
                  const Requests &requests) {
    bool isHead = name.find("_head") != std::string::npos;
    double size = isHead && side.headFunction != oracle::HeadFunction::identity ? 3.0 : 1.0;
    bool rowsDiffer = !isHead && oracle::isQuantised(variant.token);
    double row = 1.0;
    buffer.forEach([&](const Buffer::Index &index) {
      if (!learned && !requests.owns(index[0]))
        return;
      if (index.back() == 0 && !isHead)
        row = random.chance(3) ? 0.0 : rowsDiffer ? std::ldexp(1.0, static_cast<int>(random.range(-3, 3))) : 1.0;
      bool isQuiet = name == "k_token" && !learned && requests.tokenOf(index[0]) < workload.quietTokens;
      buffer.set(index, random.signedUnit() * size * row * (isQuiet ? 1.0 / 256 : 1.0));
    });
  }

  const oracle::Factorization &sideOf(char side) const {
    return side == 'q' ? variant.q : side == 'k' ? variant.k : variant.v;
  }

  /// A factor of the layer, not of tokens: without the leading dimension.
  bool isLearned(const std::string &name) const {
    const oracle::Factorization &side = sideOf(name[0]);
    if (name.find("_head") != std::string::npos)
      return side.headSource == Source::learned;
    return side.token[tokenIndex(name)].source == Source::learned;
  }

  /// Index of the token factor that "k_token", "k_token2" or "k_token2_cache" names.
  static size_t tokenIndex(const std::string &name) {
    char digit = name[std::string("k_token").size()];
    return digit >= '0' && digit <= '9' ? static_cast<size_t>(digit - '0') : 0;
  }

  // ---- Append ----

  oracle::Sizes sizesOf(const Requests &requests) const { return {requests.rows(), workload.batch(), capacity}; }

  void appendAll() {
    std::vector<oracle::TensorSpec> specs = oracle::phaseTensors(variant, "append");
    Tensors exact;
    oracle::Sizes cacheSizes{0, workload.batch(), capacity};
    for (const oracle::TensorSpec &spec : specs)
      if (isCache(spec.name)) {
        buffers[spec.name] = makeBuffer(spec, cacheSizes);
        exact[spec.name] = Tensor(cacheSizes.of(spec.shape), std::nan(""));
      }
    std::vector<int64_t> lengths(workload.queries.size());
    for (const std::vector<int64_t> &tokens : workload.appended) {
      Requests requests{tokens, lengths, workload.leadingRows, workload.trailingRows};
      oracle::Sizes sizes = sizesOf(requests);
      for (const oracle::TensorSpec &spec : specs)
        if (!isCache(spec.name)) {
          buffers[spec.name] = makeBuffer(spec, sizes);
          if (spec.type != oracle::Type::i32)
            fillFactor(spec.name, buffers.at(spec.name), sideOf(spec.name[0]), /*learned=*/false, requests);
        }
      setRequests(buffers, requests);
      if (variant.rope)
        for (size_t b = 0; b < tokens.size(); ++b)
          for (int64_t n = 0; n < tokens[b]; ++n)
            buffers.at("positions")
                .set({requests.start(b) + n}, static_cast<double>(workload.firstPositions[b] + lengths[b] + n));
      for (const oracle::TensorSpec &spec : specs)
        if (!isCache(spec.name))
          exact[spec.name] = buffers.at(spec.name).read();
      oracle::append(variant, sizes, exact);

      call(*program, tpac::Phase::append, sizes, buffers);
      auto isNew = [&](const Buffer::Index &index) {
        size_t b = static_cast<size_t>(index[0]);
        return index[1] >= lengths[b] && index[1] < lengths[b] + tokens[b];
      };
      checkUntouched("append", variant, buffers, isNew);
      for (const oracle::TensorSpec &spec : specs)
        if (isCache(spec.name))
          checkStored(spec, exact.at(spec.name), isNew);
      for (size_t b = 0; b < tokens.size(); ++b)
        lengths[b] += tokens[b];
    }
  }

  /// Radians that a rotation may be off.
  double angleError() const {
    if (!variant.rope)
      return 0.0;
    // Angles are formed in float64; from there on float32 may carry them as an error-free pair.
    double reduced = 4.0 * static_cast<double>(farthest) * 0x1p-53;
    return variant.compute == oracle::Type::f64 ? reduced : std::max(reduced, farthest > 4096 ? 1e-6 : 0.0);
  }

  /// Each new element is within one rounding of the exact one, and what the arithmetic before it may lose.
  void checkStored(const oracle::TensorSpec &spec, const Tensor &exact,
                   const std::function<bool(const Buffer::Index &)> &isNew) {
    const Buffer &stored = buffers.at(spec.name);
    double unit = oracle::unitRoundoff(variant.compute);
    bool quantised = oracle::isQuantised(variant.token);
    bool isToken = spec.name.find("_token") != std::string::npos;
    bool isHead = spec.name.find("_head") != std::string::npos;
    bool keyRotated = variant.rope && !variant.rotatesOnRead();
    const oracle::Factorization &side = sideOf(spec.name[0]);
    bool hasFunction = isHead && side.headFunction != oracle::HeadFunction::identity;
    bool isRotated = keyRotated && isToken && spec.name[0] == 'k' && tokenIndex(spec.name) == 0;
    // Scales of a rotated row turn with its largest element.
    double relative =
        (hasFunction ? 32.0 * unit : 0.0) +
        (quantised && spec.type != oracle::Type::i32 ? 16.0 * unit + (keyRotated ? angleError() : 0.0) : 0.0);
    size_t position = 0;
    double rowLargest = 0.0;
    stored.forEach([&](const Buffer::Index &index) {
      size_t at = position++;
      if (!isNew(index))
        return;
      if (isRotated && index.back() == 0) {
        rowLargest = 0.0;
        for (int64_t i = 0; i < exact.shape.back(); ++i)
          rowLargest = std::max(rowLargest, std::fabs(exact.data[at + static_cast<size_t>(i)]));
      }
      double wanted = exact.data[at];
      double found = stored.get(index);
      // A rotated element's error goes with its pair, at most sqrt(2) times the row's largest element.
      double before = relative * std::fabs(wanted) + (isRotated ? 1.5 * (8.0 * unit + angleError()) * rowLargest : 0.0);
      double half = spec.type == oracle::Type::i32 ? 0.0 : oracle::spacing(spec.type, std::fabs(wanted) + before) / 2;
      double limit = before + half;
      // Half a step can only be met exactly by a tie, up to the oracle's own last bit.
      if (std::fabs(found - wanted) <= limit * (1 + 1e-12) + 1e-15 * std::fabs(wanted))
        return;
      std::ostringstream text;
      text.precision(9);
      text << "append: " << spec.name << " [";
      for (size_t i = 0; i < index.size(); ++i)
        text << (i ? ", " : "") << index[i];
      text << "]: found " << found << ", expected " << wanted << " within " << limit;
      fail(text.str());
    });
  }

  // ---- Decode and prefill ----

  /// Fills the inputs of decode, scaled so that the largest |L| is near the workload's.
  void drawQueries(const oracle::Variant &of) {
    queries = Requests{workload.queries, {}, workload.leadingRows, workload.trailingRows};
    for (int64_t b = 0; b < workload.batch(); ++b)
      queries.lengths.push_back(workload.length(b));
    oracle::Sizes sizes = sizesOf(queries);
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(of, "decode")) {
      if (isCache(spec.name))
        continue;
      buffers[spec.name] = makeBuffer(spec, sizes);
      if (spec.type != oracle::Type::i32 && spec.access == "in")
        fillFactor(spec.name, buffers.at(spec.name), sideOf(spec.name[0]), isLearned(spec.name), queries);
    }
    setRequests(buffers, queries);
    if (variant.rope)
      for (size_t b = 0; b < workload.queries.size(); ++b)
        for (int64_t n = 0; n < workload.queries[b]; ++n)
          buffers.at("positions")
              .set({queries.start(b) + n},
                   static_cast<double>(workload.firstPositions[b] +
                                       std::max<int64_t>(0, queries.lengths[b] - workload.queries[b] + n)));
    oracle::Variant uncapped = of;
    uncapped.softcap.reset();
    oracle::Attention plain = oracle::attention(uncapped, sizes, stored(of));
    double largest = 0.0;
    for (double logit : plain.maxLogit.data)
      largest = std::max(largest, logit);
    if (largest == 0.0)
      return;
    // A power of two: the same numbers on every machine.
    int exponent = std::clamp(static_cast<int>(std::lround(std::log2(workload.largestLogit / largest))), -12, 12);
    Buffer &token = buffers.at(oracle::tokenName('q', variant.q, 0));
    Tensor numbers = token.read();
    for (double &value : numbers.data)
      value = std::ldexp(value, exponent);
    if (isLearned(oracle::tokenName('q', variant.q, 0))) {
      token.write(numbers);
      return;
    }
    size_t position = 0;
    token.forEach([&](const Buffer::Index &index) {
      double value = numbers.data[position++];
      if (queries.owns(index[0]))
        token.set(index, value);
    });
  }

  /// What the buffers of decode hold.
  Tensors stored(const oracle::Variant &of) const {
    Tensors tensors;
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(of, "decode"))
      if (spec.access == "in")
        tensors[spec.name] = buffers.at(spec.name).read();
    return tensors;
  }

  int64_t longest() const {
    int64_t result = 0;
    for (int64_t length : queries.lengths)
      result = std::max(result, length);
    return result;
  }

  void judge(const std::string &what, const oracle::Comparison &comparison) {
    double &worst = coverage.worstShares[oracle::requestTolerance(variant, longest())];
    worst = std::max(worst, comparison.worstShare);
    if (!comparison.ok)
      fail(what + ": " + comparison.message);
  }

  /// Poisons new outputs.
  void renewOutputs(const oracle::Variant &of, std::string_view phase, const oracle::Sizes &sizes, Buffers &target) {
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(of, phase))
      if (spec.access == "out")
        target[spec.name] = makeBuffer(spec, sizes);
  }

  void attend(tpac::Phase phase) {
    std::string name(tpac::phaseName(phase));
    oracle::Sizes sizes = sizesOf(queries);
    renewOutputs(variant, name, sizes, buffers);
    oracle::Attention expected = oracle::attention(variant, sizes, stored(variant));
    call(*program, phase, sizes, buffers);
    checkUntouched(name, variant, buffers, [&](const Buffer::Index &index) { return queries.owns(index[0]); });
    oracle::Allowance allowance = oracle::roundingAllowance(variant, expected, roundingUnits, 2 * angleError());
    judge(name, oracle::compare(variant, buffers.at("token_start").read(), oracle::requestTolerance(variant, longest()),
                                buffers.at("out").read(), buffers.at("lse").read(), expected, &allowance));
    for (double lse : expected.lse.data) {
      coverage.rowsThatSeeNothing += lse == -infinity;
      coverage.rowsWithLseBeyond100 += lse > 100.0;
    }
  }

  // ---- Merge ----

  /// Decodes two parts of every request's tokens, unmasked, and merges: the whole must come out.
  void mergeParts() {
    nlohmann::json json = member.variant;
    json["causal"] = false;
    json.erase("window");
    oracle::Variant unmasked = oracle::parseVariant(json);
    std::vector<tpac::Phase> phases = {tpac::Phase::decode, tpac::Phase::merge};
    std::unique_ptr<Program> unmaskedProgram = Program::make(route, json.dump(), phases, storage);
    checkSignature(unmasked, unmaskedProgram->signature(tpac::Phase::merge));

    oracle::Sizes sizes = sizesOf(queries);
    oracle::Attention whole = oracle::attention(unmasked, sizes, stored(unmasked));
    std::vector<int64_t> splits;
    for (int64_t length : queries.lengths)
      splits.push_back(random.range(0, length));

    Buffers parts;
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(unmasked, "merge"))
      parts[spec.name] = makeBuffer(spec, sizes);
    Buffers original = buffers;
    // Parts begin elsewhere in each request.
    sharedPages = 0;
    oracle::Attention states[2];
    for (int part = 0; part < 2; ++part) {
      buffers = original;
      for (int64_t b = 0; b < workload.batch(); ++b) {
        int64_t first = part ? splits[b] : 0;
        int64_t length = part ? queries.lengths[b] - splits[b] : splits[b];
        buffers.at("lengths").set({b}, static_cast<double>(length));
        moveSlots(original, unmasked, b, first, length);
      }
      renewOutputs(unmasked, "decode", sizes, buffers);
      std::string suffix = std::to_string(part);
      oracle::Attention expected = oracle::attention(unmasked, sizes, stored(unmasked));
      call(*unmaskedProgram, tpac::Phase::decode, sizes, buffers);
      oracle::Allowance allowance = oracle::roundingAllowance(unmasked, expected, roundingUnits, 2 * angleError());
      states[part].out = buffers.at("out").read();
      states[part].lse = buffers.at("lse").read();
      judge("decode of part " + suffix,
            oracle::compare(unmasked, buffers.at("token_start").read(), oracle::requestTolerance(unmasked, longest()),
                            states[part].out, states[part].lse, expected, &allowance));
      parts.at("out" + suffix).write(states[part].out);
      parts.at("lse" + suffix).write(states[part].lse);
    }
    buffers = std::move(original);

    call(*unmaskedProgram, tpac::Phase::merge, sizes, parts);
    checkUntouched("merge", unmasked, parts, [](const Buffer::Index &) { return true; });
    oracle::State exact = oracle::merge({states[0].out, states[0].lse}, {states[1].out, states[1].lse});
    Tensor tokenStart = buffers.at("token_start").read();
    double tolerance = oracle::requestTolerance(unmasked, longest());
    Tensor out = parts.at("out").read();
    Tensor lse = parts.at("lse").read();
    // Merge alone, of the parts as they were stored.
    oracle::Attention mergedExactly = whole;
    mergedExactly.out = exact.out;
    mergedExactly.lse = exact.lse;
    oracle::Allowance allowance = oracle::roundingAllowance(unmasked, whole, roundingUnits, 0.0);
    judge("merge", oracle::compare(unmasked, tokenStart, tolerance, out, lse, mergedExactly, &allowance));
    // And the whole: the parts were each rounded to the output type.
    allowance = oracle::roundingAllowance(unmasked, whole, 2 * roundingUnits, 4 * angleError());
    addPartRoundings(unmasked, states, whole, allowance);
    judge("merge against the whole", oracle::compare(unmasked, tokenStart, tolerance, out, lse, whole, &allowance));
    ++coverage.merges;
  }

  /// Moves slots [first, first + length) of request `b` to the front of its cache and poisons the others.
  void moveSlots(const Buffers &original, const oracle::Variant &of, int64_t b, int64_t first, int64_t length) {
    for (const oracle::TensorSpec &spec : oracle::phaseTensors(of, "decode")) {
      if (!isCache(spec.name))
        continue;
      Buffer &buffer = buffers.at(spec.name);
      double poison = oracle::isFloat(spec.type) ? std::nan("") : oracle::largest(spec.type);
      buffer.forEach([&](const Buffer::Index &index) {
        if (index[0] != b)
          return;
        if (index[1] >= length) {
          buffer.set(index, poison);
          return;
        }
        Buffer::Index from = index;
        from[1] += first;
        buffer.copyElement(index, original.at(spec.name), from);
      });
    }
  }

  static void addPartRoundings(const oracle::Variant &of, const oracle::Attention (&states)[2],
                               const oracle::Attention &whole, oracle::Allowance &allowance) {
    int64_t features = of.v.features();
    for (size_t row = 0; row < whole.lse.data.size(); ++row)
      for (const oracle::Attention &state : states) {
        double weight = std::exp(state.lse.data[row] - whole.lse.data[row]);
        if (!(weight > 0.0))
          continue;
        for (int64_t e = 0; e < features; ++e) {
          size_t at = row * static_cast<size_t>(features) + static_cast<size_t>(e);
          allowance.out.data[at] += weight * oracle::unitRoundoff(of.output) * std::fabs(state.out.data[at]);
        }
      }
  }

  void countWorkload() {
    coverage.emptyBatches += workload.batch() == 0;
    coverage.prefills += workload.prefill;
    coverage.strided += workload.strided;
    coverage.quantised += oracle::isQuantised(variant.token);
    coverage.blocked += storage.valueBlock != 0;
    coverage.paged += storage.pageSize != 0;
    bool ragged = false;
    for (int64_t b = 0; b < workload.batch(); ++b) {
      coverage.requestsOfLengthZero += workload.length(b) == 0 && workload.queries[b] > 0;
      coverage.requestsOfLengthOne += workload.length(b) == 1 && workload.queries[b] > 0;
      ragged |= workload.length(b) != workload.length(0) && workload.queries[b] != workload.queries[0];
    }
    coverage.raggedBatches += ragged;
  }

  const Member &member;
  const Route &route;
  const Workload &workload;
  oracle::Variant variant;
  Random random;
  Coverage coverage;
  std::unique_ptr<Program> program;
  Buffers buffers;
  /// Of the caches as the phases take them.
  tpac::CacheStorage storage;
  int64_t capacity = 0;
  /// Pages at the beginning of requests 0 and 1 that are the same.
  int64_t sharedPages = 0;
  Requests queries;
  int64_t farthest = 0;
};

std::string textOf(const std::string &name, const std::string &type, const std::string &access,
                   const std::vector<std::pair<std::string, int64_t>> &shape) {
  std::string text = access + " " + name + " " + type + " [";
  for (size_t i = 0; i < shape.size(); ++i) {
    const auto &[symbol, size] = shape[i];
    text += (i ? ", " : "") + symbol;
    if (symbol.empty() || size != 0)
      text += (symbol.empty() ? "" : " + ") + std::to_string(size);
  }
  return text + "]";
}

std::string textOf(tpac::Access access) {
  return access == tpac::Access::in ? "in" : access == tpac::Access::out ? "out" : "inout";
}

} // namespace

void Coverage::add(const Coverage &other) {
  emptyBatches += other.emptyBatches;
  requestsOfLengthZero += other.requestsOfLengthZero;
  requestsOfLengthOne += other.requestsOfLengthOne;
  raggedBatches += other.raggedBatches;
  rowsThatSeeNothing += other.rowsThatSeeNothing;
  rowsWithLseBeyond100 += other.rowsWithLseBeyond100;
  merges += other.merges;
  prefills += other.prefills;
  strided += other.strided;
  quantised += other.quantised;
  blocked += other.blocked;
  paged += other.paged;
  sharedPages += other.sharedPages;
  pageLists += other.pageLists;
  for (const auto &[tolerance, share] : other.worstShares)
    worstShares[tolerance] = std::max(worstShares[tolerance], share);
}

Coverage check(const Member &member, const Route &route) {
  Run run(member, route);
  try {
    return run.run();
  } catch (const std::runtime_error &error) {
    fail(error.what() + run.description());
  }
}

void checkSignature(const oracle::Variant &variant, const tpac::PhaseSignature &signature, tpac::CacheStorage storage) {
  std::string phase(tpac::phaseName(signature.phase));
  std::vector<std::string> sizes = oracle::phaseSizes(phase);
  if (storage.pageSize != 0 && phase != "merge")
    sizes.insert(sizes.end(), {"pages", "listed_pages"});
  if (signature.sizes != sizes) {
    std::string found;
    for (const std::string &size : signature.sizes)
      found += " " + size;
    fail(phase + ": sizes are" + found);
  }
  std::vector<oracle::TensorSpec> expected = oracle::phaseTensors(variant, phase);
  if (auto lengths = std::ranges::find(expected, "lengths", &oracle::TensorSpec::name);
      storage.pageSize != 0 && lengths != expected.end()) {
    std::string entries = "capacity" + (storage.pageSize == 1 ? "" : " / " + std::to_string(storage.pageSize));
    const oracle::TensorSpec pageTensors[] = {{"block_table", oracle::Type::i32, {{"batch"}, {entries}}, "in"},
                                              {"page_starts", oracle::Type::i32, {{"batch", 1}}, "in"}};
    expected.insert(lengths + 1, std::begin(pageTensors), std::end(pageTensors));
  }
  for (size_t i = 0; i < std::max(expected.size(), signature.tensors.size()); ++i) {
    std::string wanted = "nothing";
    std::string found = "nothing";
    std::vector<std::pair<std::string, int64_t>> shape;
    if (i < expected.size()) {
      for (const oracle::Dimension &dimension : expected[i].shape)
        shape.emplace_back(dimension.symbol, dimension.size);
      const int64_t block = isValueTokenCache(expected[i].name) ? storage.valueBlock : 0;
      if (block != 0) {
        shape[1].first += " / " + std::to_string(block);
        shape.emplace_back("", block);
      }
      if (storage.pageSize != 0 && isCache(expected[i].name)) {
        shape[0] = {"pages", 0};
        shape[1] = {"", storage.pageSize / std::max<int64_t>(block, 1)};
      }
      wanted = textOf(expected[i].name, oracle::typeName(expected[i].type), expected[i].access, shape);
    }
    if (i < signature.tensors.size()) {
      const tpac::PhaseTensor &tensor = signature.tensors[i];
      shape.clear();
      for (const tpac::Dimension &dimension : tensor.shape)
        shape.emplace_back(dimension.symbol + (dimension.divisor != 1 ? " / " + std::to_string(dimension.divisor) : ""),
                           dimension.size);
      found = textOf(tensor.name, std::string(tpac::elementTypeName(tensor.elementType)), textOf(tensor.access), shape);
    }
    if (found != wanted)
      fail(phase + ": tensor " + std::to_string(i) + " is " + found + ", expected " + wanted);
  }
}

} // namespace property
