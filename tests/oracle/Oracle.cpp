// SPDX-License-Identifier: Apache-2.0
//
// Append, attention and merge. Formulas: docs/variant.md; Zhang et al., "Tensor Product
// Attention Is All You Need", equations (3.1)-(3.6), Theorems 3.1 and C.1.

#include "tests/oracle/Oracle.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace oracle {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

using Rows = std::vector<std::vector<double>>;

/// Copies the last dimension of `tensor` at `index`.
std::vector<double> rowAt(const Tensor &tensor, std::vector<int64_t> index) {
  int64_t position = 0;
  for (size_t i = 0; i < index.size(); ++i)
    position = position * tensor.shape[i] + index[i];
  int64_t size = tensor.shape.back();
  auto first = tensor.data.begin() + position * size;
  return {first, first + size};
}

void setRow(Tensor &tensor, std::vector<int64_t> index, const std::vector<double> &row) {
  int64_t position = 0;
  for (size_t i = 0; i < index.size(); ++i)
    position = position * tensor.shape[i] + index[i];
  std::copy(row.begin(), row.end(), tensor.data.begin() + position * tensor.shape.back());
}

/// Rows [R'] of a tensor [..., R', d] at the leading indices `index`.
Rows rowsAt(const Tensor &tensor, std::vector<int64_t> index, int64_t rank) {
  Rows rows;
  index.push_back(0);
  for (int64_t r = 0; r < rank; ++r) {
    index.back() = r;
    rows.push_back(rowAt(tensor, index));
  }
  return rows;
}

/// Applies the head function to A[r][h].
void applyHeadFunction(HeadFunction function, Rows &factor) {
  for (std::vector<double> &row : factor) {
    if (function == HeadFunction::sigmoid) {
      for (double &value : row)
        value = 1.0 / (1.0 + std::exp(-value));
    } else if (function == HeadFunction::softmax) {
      double maximum = *std::max_element(row.begin(), row.end());
      double sum = 0.0;
      for (double &value : row)
        sum += value = std::exp(value - maximum);
      for (double &value : row)
        value /= sum;
    }
  }
}

Rows fixedHead(const Variant &variant, const Factorization &side) {
  Rows factor(static_cast<size_t>(variant.localRank(side)),
              std::vector<double>(static_cast<size_t>(variant.localHeads())));
  for (int64_t r = 0; r < variant.localRank(side); ++r)
    for (int64_t h = 0; h < variant.localHeads(); ++h)
      factor[r][h] = variant.fixedHeadFactor(side, r, h);
  return factor;
}

/// B[r, i + d1*(j + d2*k)] = b[r,i] c[r,j] e[r,k]: `small[factor][rank]`, the first factor fastest.
Rows composeTokenFactors(const std::vector<Rows> &small) {
  Rows result = small.front();
  for (size_t factor = 1; factor < small.size(); ++factor)
    for (size_t r = 0; r < result.size(); ++r) {
      std::vector<double> product;
      for (double slow : small[factor][r])
        for (double fast : result[r])
          product.push_back(fast * slow);
      result[r] = std::move(product);
    }
  return result;
}

/// sum_r A[r][h] B[r][d], as [h][d].
Rows contract(const Rows &head, const Rows &token, int64_t features) {
  Rows result(head.front().size(), std::vector<double>(static_cast<size_t>(features)));
  for (size_t h = 0; h < result.size(); ++h)
    for (size_t r = 0; r < head.size(); ++r) {
      const double factor = head[r][h], *from = token[r].data();
      // Most of a fixed factor.
      if (factor == 0.0)
        continue;
      double *to = result[h].data();
      for (int64_t d = 0; d < features; ++d)
        to[d] += factor * from[d];
    }
  return result;
}

Rows absolute(Rows rows) {
  for (std::vector<double> &row : rows)
    for (double &value : row)
      value = std::fabs(value);
  return rows;
}

/// Calls `visit` with both indices of every rotated pair and the pair's frequency index, in each block.
void forEachPair(const Variant &variant, int64_t features,
                 const std::function<void(int64_t first, int64_t second, int64_t frequency)> &visit) {
  const Rope &rope = *variant.rope;
  int64_t block = variant.ropeBlock();
  if (features % block != 0)
    throw std::invalid_argument(std::to_string(features) + " features are not whole blocks of " +
                                std::to_string(block));
  for (int64_t start = rope.offset; start < features; start += block)
    for (int64_t j = 0; j < rope.rotated / 2; ++j)
      if (rope.interleaved)
        visit(start + 2 * j, start + 2 * j + 1, j);
      else
        visit(start + j, start + j + rope.rotated / 2, j);
}

Rows rotateRows(const Variant &variant, Rows rows, int64_t position) {
  for (std::vector<double> &row : rows)
    row = rotate(variant, std::move(row), position);
  return rows;
}

/// Bounds of |rotated feature| at any position: what rounding errors of a rotation scale with.
Rows rotationBound(const Variant &variant, Rows rows) {
  for (std::vector<double> &row : rows)
    forEachPair(variant, static_cast<int64_t>(row.size()), [&](int64_t first, int64_t second, int64_t) {
      row[first] = row[second] = std::hypot(row[first], row[second]) * variant.rope->amplitude;
    });
  return rows;
}

/// Q, K or V of one token, by local head and feature, and the same sum over absolute values.
struct Composed {
  Rows value;
  Rows magnitude;
};

Composed compose(const Rows &head, const Rows &token, const Rows &tokenBound, int64_t features) {
  return {contract(head, token, features), contract(absolute(head), absolute(tokenBound), features)};
}

/// Reads the factors of tokens from the inputs and caches of decode and prefill.
class Reader {
public:
  Reader(const Variant &variant, const Tensors &tensors) : variant(variant), tensors(tensors) {}

  /// Q[h][d], times s_Q; rotated and, where the variant asks for it, rounded.
  Composed query(int64_t token) const {
    const Factorization &q = variant.q;
    Rows head = headFactor('q', q, {token}, "", /*applyToContextual=*/true);
    std::vector<Rows> small;
    for (size_t i = 0; i < q.token.size(); ++i)
      small.push_back(tokenFactor('q', q, i, {token}, ""));
    Rows composed = composeTokenFactors(small);
    Rows bound = composed;
    if (variant.rope) {
      bound = rotationBound(variant, composed);
      composed = rotateRows(variant, composed, static_cast<int64_t>(tensors.at("positions").at({token})));
    }
    Composed result = compose(head, composed, bound, q.features());
    for (size_t h = 0; h < result.value.size(); ++h)
      for (size_t d = 0; d < result.value[h].size(); ++d) {
        double value = result.value[h][d] * q.rankScale();
        result.value[h][d] = variant.queryRounded ? roundTo(variant.activation, value) : value;
        result.magnitude[h][d] *= q.rankScale();
      }
    return result;
  }

  /// K[h][d] (without s_K) of cached token `slot` of request `batch`; its magnitude where it is asked for.
  Composed key(int64_t batch, int64_t slot, bool hasMagnitude) const {
    const Factorization &k = variant.k;
    KeyRows rows = keyRows(batch, slot);
    Rows head = headFactor('k', k, {batch, slot}, "_cache", /*applyToContextual=*/false);
    applyScales("k_scale_cache", batch, slot, head);
    if (!hasMagnitude)
      return {contract(head, rows.rotated, k.features()), {}};
    return compose(head, rows.rotated, rows.bound, k.features());
  }

  /// V[h][e] (with s_V).
  Composed value(int64_t batch, int64_t slot) const {
    const Factorization &v = variant.v;
    Rows head = headFactor('v', v, {batch, slot}, "_cache", /*applyToContextual=*/false);
    if (tensors.count("v_scale_cache"))
      applyScales("v_scale_cache", batch, slot, head);
    else if (v.isShared() && v.headSource != Source::contextual)
      applyScales("k_scale_cache", batch, slot, head);
    Rows token;
    Rows bound;
    if (!v.isShared()) {
      token = bound = composeTokenFactors(cachedTokens('v', v, batch, slot));
    } else {
      KeyRows rows = keyRows(batch, slot);
      bool isRotated = variant.vSees == "rotated";
      token = isRotated ? rows.rotated : rows.stored;
      bound = isRotated ? rows.bound : rows.stored;
    }
    Composed value = compose(head, token, bound, v.features());
    for (Rows *rows : {&value.value, &value.magnitude})
      for (std::vector<double> &row : *rows)
        for (double &number : row)
          number *= v.rankScale();
    return value;
  }

private:
  struct KeyRows {
    Rows stored, rotated, bound;
  };

  KeyRows keyRows(int64_t batch, int64_t slot) const {
    KeyRows rows;
    rows.stored = rows.rotated = rows.bound = composeTokenFactors(cachedTokens('k', variant.k, batch, slot));
    if (variant.rotatesOnRead()) {
      rows.rotated =
          rotateRows(variant, rows.stored, static_cast<int64_t>(tensors.at("key_positions_cache").at({batch, slot})));
      rows.bound = rotationBound(variant, rows.stored);
    }
    return rows;
  }

  /// A[r][h] after its function; cached ones have passed through it when they were appended.
  Rows headFactor(char side, const Factorization &f, std::vector<int64_t> token, const std::string &suffix,
                  bool applyToContextual) const {
    if (f.headSource == Source::fixed)
      return fixedHead(variant, f);
    bool learned = f.headSource == Source::learned;
    std::string name = std::string(1, side) + "_head" + (learned ? "" : suffix);
    Rows factor = rowsAt(tensors.at(name), learned ? std::vector<int64_t>{} : std::move(token), variant.localRank(f));
    if (learned || applyToContextual)
      applyHeadFunction(f.headFunction, factor);
    return factor;
  }

  Rows tokenFactor(char side, const Factorization &f, size_t index, std::vector<int64_t> token,
                   const std::string &suffix) const {
    bool learned = f.token[index].source == Source::learned;
    std::string name = tokenName(side, f, index) + (learned ? "" : suffix);
    return rowsAt(tensors.at(name), learned ? std::vector<int64_t>{} : std::move(token), variant.localRank(f));
  }

  std::vector<Rows> cachedTokens(char side, const Factorization &f, int64_t batch, int64_t slot) const {
    std::vector<Rows> small;
    for (size_t i = 0; i < f.token.size(); ++i)
      small.push_back(tokenFactor(side, f, i, {batch, slot}, "_cache"));
    return small;
  }

  void applyScales(const std::string &name, int64_t batch, int64_t slot, Rows &head) const {
    auto found = tensors.find(name);
    if (found == tensors.end())
      return;
    for (size_t r = 0; r < head.size(); ++r)
      for (double &value : head[r])
        value *= found->second.at({batch, slot, static_cast<int64_t>(r)});
  }

  const Variant &variant;
  const Tensors &tensors;
};

/// Tokens [first, last) that query `n` of `queries` sees of `length` cached ones.
std::pair<int64_t, int64_t> visible(const Variant &variant, int64_t n, int64_t queries, int64_t length) {
  int64_t last = variant.causal ? length - queries + n + 1 : length;
  last = std::clamp<int64_t>(last, 0, length);
  int64_t first = variant.window ? std::max<int64_t>(0, last - *variant.window) : 0;
  return {first, last};
}

} // namespace

std::vector<double> rotate(const Variant &variant, std::vector<double> features, int64_t position) {
  const Rope &rope = *variant.rope;
  forEachPair(variant, static_cast<int64_t>(features.size()), [&](int64_t first, int64_t second, int64_t j) {
    long double frequency = rope.inverseFrequencies ? static_cast<long double>(rope.inverseFrequencies->at(j))
                                                    : std::pow(static_cast<long double>(rope.base),
                                                               -2.0L * static_cast<long double>(j) / rope.rotated);
    long double angle = static_cast<long double>(position) * frequency;
    long double cosine = rope.amplitude * std::cos(angle);
    long double sine = rope.amplitude * std::sin(angle);
    double x1 = features[first];
    double x2 = features[second];
    if (rope.direction == 1) {
      features[first] = static_cast<double>(x1 * cosine - x2 * sine);
      features[second] = static_cast<double>(x1 * sine + x2 * cosine);
    } else {
      features[first] = static_cast<double>(x1 * cosine + x2 * sine);
      features[second] = static_cast<double>(x2 * cosine - x1 * sine);
    }
  });
  return features;
}

void append(const Variant &variant, const Sizes &sizes, Tensors &tensors) {
  const Tensor &starts = tensors.at("token_start");
  const Tensor &lengths = tensors.at("lengths");
  bool quantised = isQuantised(variant.token);
  for (int64_t b = 0; b < sizes.batch; ++b) {
    auto start = static_cast<int64_t>(starts.at({b}));
    auto end = static_cast<int64_t>(starts.at({b + 1}));
    for (int64_t t = start; t < end; ++t) {
      int64_t slot = static_cast<int64_t>(lengths.at({b})) + t - start;
      int64_t position = variant.rope ? static_cast<int64_t>(tensors.at("positions").at({t})) : 0;
      if (variant.rotatesOnRead())
        tensors.at("key_positions_cache").at({b, slot}) = static_cast<double>(position);

      std::vector<double> keyScales;
      for (char side : {'k', 'v'}) {
        const Factorization &f = side == 'k' ? variant.k : variant.v;
        int64_t rank = variant.localRank(f);
        std::vector<double> scales(static_cast<size_t>(rank), 1.0);
        if (f.isShared())
          scales = keyScales;
        for (size_t i = 0; i < f.token.size(); ++i) {
          if (f.token[i].source != Source::contextual)
            continue;
          std::string name = tokenName(side, f, i);
          bool rotated = side == 'k' && i == 0 && variant.rope && !variant.rotatesOnRead();
          for (int64_t r = 0; r < rank; ++r) {
            std::vector<double> row = rowAt(tensors.at(name), {t, r});
            if (rotated)
              row = rotate(variant, std::move(row), position);
            if (quantised) {
              double maximum = 0.0;
              for (double value : row)
                maximum = std::max(maximum, std::fabs(value));
              double scale = maximum == 0.0 ? 1.0 : maximum / largest(variant.token);
              for (double &value : row)
                value /= scale;
              scales[r] *= scale;
            }
            setRow(tensors.at(name + "_cache"), {b, slot, r}, row);
          }
        }
        std::string prefix(1, side);
        if (variant.hasScaleCache(f))
          setRow(tensors.at(prefix + "_scale_cache"), {b, slot}, scales);
        if (f.headSource == Source::contextual) {
          Rows head = rowsAt(tensors.at(prefix + "_head"), {t}, rank);
          applyHeadFunction(f.headFunction, head);
          for (int64_t r = 0; r < rank; ++r) {
            for (double &value : head[r])
              value *= scales[r];
            setRow(tensors.at(prefix + "_head_cache"), {b, slot, r}, head[r]);
          }
        }
        if (side == 'k')
          keyScales = scales;
      }
    }
  }
}

namespace {

/// Keys or values of a request: made once, or where they are many whenever they are asked for.
class CachedTokens {
public:
  using Make = std::function<Composed(int64_t token)>;

  CachedTokens(Make make, int64_t length, int64_t elementsOfToken) : make(std::move(make)) {
    constexpr int64_t most = int64_t(1) << 23;
    if (length * elementsOfToken <= most)
      for (int64_t m = 0; m < length; ++m)
        kept.push_back(this->make(m));
  }

  /// Until the next call.
  const Composed &at(int64_t m) {
    if (static_cast<size_t>(m) < kept.size())
      return kept[static_cast<size_t>(m)];
    return latest = make(m);
  }

private:
  Make make;
  std::vector<Composed> kept;
  Composed latest;
};

/// One query token's rows, head by head.
struct QueryToken {
  int64_t token, first, last;
  Composed query;
  /// Of tokens first to last: logits, then probabilities; and the logits' conditions.
  Rows logits, conditions;
};

class RequestAttention {
public:
  RequestAttention(const Variant &variant, Parts parts, Attention &result)
      : variant(variant), parts(parts), result(result), heads(variant.localHeads()), features(variant.v.features()),
        // The query carries s_Q already.
        logitScale(variant.scale.value_or(variant.q.rankScale() * variant.k.rankScale() /
                                          std::sqrt(static_cast<double>(variant.q.features()))) /
                   variant.q.rankScale()) {}

  void run(CachedTokens &keys, CachedTokens &values, std::vector<QueryToken> &queries) {
    for (QueryToken &query : queries)
      begin(query);
    forEachSeen(keys, queries, [&](QueryToken &query, int64_t m, const Composed &key) { score(query, m, key); });
    for (QueryToken &query : queries)
      weigh(query);
    forEachSeen(values, queries, [&](QueryToken &query, int64_t m, const Composed &value) { add(query, m, value); });
    if (parts == Parts::all)
      forEachSeen(values, queries,
                  [&](QueryToken &query, int64_t m, const Composed &value) { judgeConditions(query, m, value); });
    for (QueryToken &query : queries)
      for (int64_t i = 0; i < heads * features; ++i) {
        double &squares = result.outDeviation.data[element(query, 0, 0) + static_cast<size_t>(i)];
        squares = std::sqrt(squares);
      }
  }

private:
  /// Calls `visit(query, m - query.first, key or value of m)`.
  template <typename Visit>
  static void forEachSeen(CachedTokens &cached, std::vector<QueryToken> &queries, Visit visit) {
    int64_t first = std::numeric_limits<int64_t>::max(), last = 0;
    for (const QueryToken &query : queries) {
      first = std::min(first, query.first);
      last = std::max(last, query.last);
    }
    for (int64_t m = first; m < last; ++m) {
      const Composed &token = cached.at(m);
      for (QueryToken &query : queries)
        if (m >= query.first && m < query.last)
          visit(query, m - query.first, token);
    }
  }

  size_t row(const QueryToken &query, int64_t h) const { return static_cast<size_t>(query.token * heads + h); }
  size_t element(const QueryToken &query, int64_t h, int64_t e) const {
    return row(query, h) * static_cast<size_t>(features) + static_cast<size_t>(e);
  }

  void begin(QueryToken &query) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t e = 0; e < features; ++e)
        result.out.data[element(query, h, e)] = 0.0;
      result.lse.data[row(query, h)] = -infinity;
    }
    const auto seen = static_cast<size_t>(std::max<int64_t>(query.last - query.first, 0));
    query.logits.assign(static_cast<size_t>(heads), std::vector<double>(seen));
    query.conditions = query.logits;
  }

  void score(QueryToken &query, int64_t m, const Composed &key) {
    const int64_t size = variant.q.features();
    for (int64_t h = 0; h < heads; ++h) {
      double sum = 0.0;
      double magnitude = 0.0;
      const double *q = query.query.value[h].data(), *k = key.value[h].data();
      for (int64_t d = 0; d < size; ++d)
        sum += q[d] * k[d];
      for (int64_t d = 0; d < size && parts == Parts::all; ++d)
        magnitude += query.query.magnitude[h][d] * key.magnitude[h][d];
      double logit = logitScale * sum;
      double condition = logitScale * magnitude;
      if (variant.softcap) {
        double capped = std::tanh(logit / *variant.softcap);
        condition *= 1.0 - capped * capped;
        logit = *variant.softcap * capped;
      }
      query.logits[h][m] = logit;
      query.conditions[h][m] = condition + std::fabs(logit);
      double &maximum = result.maxLogit.data[row(query, h)];
      maximum = std::max(maximum, std::fabs(logit));
    }
  }

  /// Logits become probabilities.
  void weigh(QueryToken &query) {
    for (int64_t h = 0; h < heads && query.first < query.last; ++h) {
      std::vector<double> &logits = query.logits[h];
      double maximum = *std::max_element(logits.begin(), logits.end());
      double sum = 0.0;
      for (double logit : logits)
        sum += std::exp(logit - maximum);
      result.lse.data[row(query, h)] = maximum + std::log(sum);
      for (double &logit : logits)
        logit = std::exp(logit - maximum) / sum;
    }
  }

  /// outDeviation: squares.
  void add(QueryToken &query, int64_t m, const Composed &value) {
    for (int64_t h = 0; h < heads; ++h) {
      const double probability = query.logits[h][m], *v = value.value[h].data();
      const double *magnitude = value.magnitude[h].data();
      const size_t first = element(query, h, 0);
      double *out = &result.out.data[first], *squares = &result.outDeviation.data[first];
      double *valueMagnitude = &result.valueMagnitude.data[first];
      for (int64_t e = 0; e < features; ++e) {
        out[e] += probability * v[e];
        valueMagnitude[e] += magnitude[e];
        squares[e] += probability * magnitude[e] * probability * magnitude[e];
      }
    }
  }

  /// Once `out` is known.
  void judgeConditions(QueryToken &query, int64_t m, const Composed &value) {
    for (int64_t h = 0; h < heads; ++h) {
      const double probability = query.logits[h][m], condition = query.conditions[h][m];
      const double *v = value.value[h].data(), *magnitude = value.magnitude[h].data();
      result.lseCondition.data[row(query, h)] += probability * condition;
      const size_t first = element(query, h, 0);
      const double *out = &result.out.data[first];
      double *outCondition = &result.outCondition.data[first];
      for (int64_t e = 0; e < features; ++e)
        outCondition[e] += probability * (magnitude[e] + condition * std::fabs(v[e] - out[e]));
    }
  }

  const Variant &variant;
  Parts parts;
  Attention &result;
  int64_t heads, features;
  double logitScale;
};

} // namespace

Attention attention(const Variant &variant, const Sizes &sizes, const Tensors &tensors, Parts parts) {
  int64_t heads = variant.localHeads();
  int64_t features = variant.v.features();
  Attention result{Tensor({sizes.tokens, heads, features}, notANumber),
                   Tensor({sizes.tokens, heads}, notANumber),
                   Tensor({sizes.tokens, heads}),
                   Tensor({sizes.tokens, heads, features}),
                   Tensor({sizes.tokens, heads}),
                   Tensor({sizes.tokens, heads, features}),
                   Tensor({sizes.tokens, heads, features})};
  Reader reader(variant, tensors);
  RequestAttention request(variant, parts, result);
  const Tensor &starts = tensors.at("token_start");
  for (int64_t b = 0; b < sizes.batch; ++b) {
    auto start = static_cast<int64_t>(starts.at({b}));
    int64_t count = static_cast<int64_t>(starts.at({b + 1})) - start;
    auto length = static_cast<int64_t>(tensors.at("lengths").at({b}));
    std::vector<QueryToken> queries;
    for (int64_t n = 0; n < count; ++n) {
      auto [first, last] = visible(variant, n, count, length);
      queries.push_back({start + n, first, last, reader.query(start + n), {}, {}});
    }
    CachedTokens keys([&](int64_t m) { return reader.key(b, m, parts == Parts::all); }, length,
                      heads * variant.k.features());
    CachedTokens values([&](int64_t m) { return reader.value(b, m); }, length, heads * features);
    request.run(keys, values, queries);
  }
  return result;
}

State merge(const State &first, const State &second) {
  State result = first;
  int64_t features = first.out.shape.back();
  for (size_t row = 0; row < first.lse.data.size(); ++row) {
    double l1 = first.lse.data[row];
    double l2 = second.lse.data[row];
    double maximum = std::max(l1, l2);
    bool nothing = maximum == -infinity;
    double w1 = nothing || l1 == -infinity ? 0.0 : std::exp(l1 - maximum);
    double w2 = nothing || l2 == -infinity ? 0.0 : std::exp(l2 - maximum);
    result.lse.data[row] = nothing ? -infinity : maximum + std::log(w1 + w2);
    for (int64_t e = 0; e < features; ++e) {
      size_t i = row * static_cast<size_t>(features) + static_cast<size_t>(e);
      double sum = 0.0;
      // A side of weight 0 does not count, whatever its output holds.
      if (w1 != 0.0)
        sum += w1 * first.out.data[i];
      if (w2 != 0.0)
        sum += w2 * second.out.data[i];
      result.out.data[i] = nothing ? 0.0 : sum / (w1 + w2);
    }
  }
  return result;
}

} // namespace oracle
