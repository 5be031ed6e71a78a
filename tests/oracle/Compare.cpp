// SPDX-License-Identifier: Apache-2.0
//
// The tolerances and their application, request by request and row by row: a norm over the whole batch would hide wrong
// rows.

#include "tests/oracle/Compare.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace oracle {
namespace {

enum class Class { f64, f32, f16, coarse };

Class classOf(Type type) {
  switch (type) {
  case Type::f64:
  case Type::i32:
    return Class::f64;
  case Type::f32:
    return Class::f32;
  case Type::f16:
    return Class::f16;
  case Type::bf16:
  case Type::f8E4M3FN:
  case Type::i8:
    return Class::coarse;
  }
  return Class::coarse;
}

Class classOf(const Variant &variant) {
  return std::max({classOf(variant.activation), classOf(variant.head), classOf(variant.token), classOf(variant.output),
                   classOf(variant.compute)});
}

class Judge {
public:
  Judge(const Variant &variant, double tolerance, const Tensor &out, const Tensor &lse, const Attention &expected,
        const Allowance *allowance)
      : tolerance(tolerance), isFloat32(classOf(variant) == Class::f32), heads(variant.localHeads()),
        features(variant.v.features()), out(out), lse(lse), expected(expected), allowance(allowance) {}

  void request(int64_t b, int64_t start, int64_t end) {
    double error = 0.0;
    double norm = 0.0;
    double allowed = 0.0;
    Worst worst;
    for (int64_t t = start; t < end; ++t)
      for (int64_t h = 0; h < heads; ++h) {
        double rowError = 0.0;
        double rowNorm = 0.0;
        double rowAllowed = 0.0;
        double rowWeights = 0.0;
        Worst rowWorst;
        for (int64_t e = 0; e < features; ++e) {
          size_t i = out.offset({t, h, e});
          double difference = std::fabs(out.data[i] - expected.out.data[i]);
          if (!std::isfinite(out.data[i]))
            fail(b, {t, h, e}, "out is not finite", out.data[i], expected.out.data[i]);
          if (expected.lse.at({t, h}) == -infinity && out.data[i] != 0.0)
            fail(b, {t, h, e}, "out of a row that sees nothing", out.data[i], 0.0);
          rowWorst.add(difference, {t, h, e});
          rowError += difference * difference;
          rowNorm += expected.out.data[i] * expected.out.data[i];
          if (allowance) {
            rowAllowed += allowance->out.data[i] * allowance->out.data[i];
            rowWeights += allowance->weights.data[i] * allowance->weights.data[i];
          }
        }
        double limit = 20.0 * tolerance * (isFloat32 ? std::max(1.0, expected.maxLogit.at({t, h}) / 10.0) : 1.0);
        check(b, rowWorst, "row", rowError, rowNorm, std::sqrt(rowAllowed) + std::sqrt(rowWeights), limit,
              result.worstRow);
        worst.add(rowWorst.difference, rowWorst.place);
        error += rowError;
        norm += rowNorm;
        allowed += rowAllowed;
        logSumExp(b, t, h);
      }
    check(b, worst, "request", error, norm, std::sqrt(allowed), tolerance, result.worstRequest);
  }

  Comparison result;

private:
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  struct Place {
    int64_t token, head, feature;
  };

  struct Worst {
    double difference = -1.0;
    Place place{};

    void add(double candidate, Place where) {
      if (candidate > difference) {
        difference = candidate;
        place = where;
      }
    }
  };

  /// `error` and `norm` squared; `allowed` beside the relative limit.
  void check(int64_t b, const Worst &worst, const char *what, double error, double norm, double allowed, double limit,
             double &figure) {
    error = std::sqrt(error);
    norm = std::sqrt(norm);
    double bound = limit * norm + allowed;
    // Negative: no element at all.
    if (worst.difference <= 0.0)
      return;
    figure = std::max(figure, norm == 0.0 ? infinity : error / norm);
    result.worstShare = std::max(result.worstShare, bound == 0.0 ? infinity : error / bound);
    // Errors whose squares underflow are still errors where the result must be exactly 0.
    if (error <= bound && bound != 0.0)
      return;
    std::ostringstream text;
    text.precision(6);
    text << what << ": error " << error << ", norm " << norm << ", limit " << bound << " (relative " << limit
         << "); worst element";
    size_t i = out.offset({worst.place.token, worst.place.head, worst.place.feature});
    fail(b, worst.place, text.str(), out.data[i], expected.out.data[i]);
  }

  void logSumExp(int64_t b, int64_t t, int64_t h) {
    double found = lse.at({t, h});
    double wanted = expected.lse.at({t, h});
    if (wanted == -infinity || !std::isfinite(found)) {
      if (found != wanted)
        fail(b, {t, h, 0}, "lse", found, wanted);
      return;
    }
    double unit = std::max(1.0, expected.maxLogit.at({t, h}));
    double difference = std::fabs(found - wanted);
    double bound = tolerance * unit + (allowance ? allowance->lse.at({t, h}) : 0.0);
    result.worstLse = std::max(result.worstLse, difference / unit);
    result.worstShare = std::max(result.worstShare, difference / bound);
    if (difference > bound)
      fail(b, {t, h, 0}, "lse off by " + std::to_string(difference) + ", limit " + std::to_string(bound), found,
           wanted);
  }

  void fail(int64_t b, Place place, const std::string &what, double found, double wanted) {
    if (!result.ok)
      return;
    result.ok = false;
    std::ostringstream text;
    text.precision(9);
    text << "request " << b << ", token " << place.token << ", head " << place.head << ", feature " << place.feature
         << ": " << what << ": found " << found << ", expected " << wanted;
    result.message = text.str();
  }

  double tolerance;
  bool isFloat32;
  int64_t heads;
  int64_t features;
  const Tensor &out;
  const Tensor &lse;
  const Attention &expected;
  const Allowance *allowance;
};

} // namespace

double requestTolerance(const Variant &variant, int64_t longest) {
  switch (classOf(variant)) {
  case Class::f64:
    return 1e-11;
  case Class::f32:
    return longest <= 4096 ? 2e-6 : 2e-5;
  case Class::f16:
    return 3e-3;
  case Class::coarse:
    break;
  }
  return 1e-2;
}

/// Of the coarsest type that weights of values may have before they are multiplied: a matrix unit takes the types of
/// the operands.
static double weightRoundoff(const Variant &variant) {
  return std::max(unitRoundoff(variant.activation), isQuantised(variant.token) ? 0.0 : unitRoundoff(variant.token));
}

Allowance roundingAllowance(const Variant &variant, const Attention &expected, double units, double angleError) {
  double error = units * unitRoundoff(variant.compute) + (variant.rope ? angleError : 0.0);
  // Smaller numbers may be flushed to zero: of f64 those that are not normal, of other types sooner
  // (docs/tolerances.md).
  double smallestNormal = spacing(variant.compute, 0.0) / unitRoundoff(variant.compute);
  double lostProbability = classOf(variant) == Class::f64 ? smallestNormal : std::max(smallestNormal, lostWeight);
  double lostOutput = spacing(variant.output, 0.0);
  Allowance allowance{expected.outCondition, expected.lseCondition, expected.outDeviation};
  for (double &value : allowance.weights.data)
    value *= weightUnits * weightRoundoff(variant);
  for (size_t i = 0; i < allowance.out.data.size(); ++i) {
    // Where no value takes part, the result must be exact.
    double magnitude = expected.valueMagnitude.data[i];
    allowance.out.data[i] =
        error * allowance.out.data[i] + lostProbability * magnitude + (magnitude == 0.0 ? 0.0 : lostOutput);
  }
  for (double &value : allowance.lse.data)
    value *= error;
  return allowance;
}

Comparison compare(const Variant &variant, const Tensor &tokenStart, double tolerance, const Tensor &out,
                   const Tensor &lse, const Attention &expected, const Allowance *allowance) {
  Judge judge(variant, tolerance, out, lse, expected, allowance);
  for (int64_t b = 0; b + 1 < tokenStart.shape.at(0); ++b)
    judge.request(b, static_cast<int64_t>(tokenStart.at({b})), static_cast<int64_t>(tokenStart.at({b + 1})));
  return judge.result;
}

} // namespace oracle
