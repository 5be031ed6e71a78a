// SPDX-License-Identifier: Apache-2.0
//
// Single tile ops, compiled for this machine, against the interpreter: all element types, odd sizes, all vector
// lengths.

#include "tests/unit/cpu/TestKernel.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace tpac;
using namespace tpac::test;

namespace {

struct Operand {
  /// As in a tile's type: {"h", 47}, {"d", 64}.
  std::vector<std::pair<std::string, int64_t>> axes;
  ElementType type = ElementType::f32;
  double scale = 1.0;

  std::string element() const { return std::string(elementTypeName(type)); }
  std::vector<int64_t> shape() const {
    std::vector<int64_t> result;
    for (auto &[axis, size] : axes)
      result.push_back(size);
    return result;
  }
  std::string tile() const {
    std::string text = "!tile.tile<";
    for (auto &[axis, size] : axes)
      text += axis + " " + std::to_string(size) + ", ";
    return text + element() + ">";
  }
  std::string memref() const {
    std::string text = "memref<";
    for (auto &[axis, size] : axes)
      text += std::to_string(size) + "x";
    return text + element() + ">";
  }
  std::string access() const {
    std::string indices, names;
    for (auto &[axis, size] : axes) {
      indices += (indices.empty() ? "" : ", ") + std::string("%c0");
      names += (names.empty() ? "" : ", ") + ("\"" + axis + "\"");
    }
    return "[" + indices + "] axes [" + names + "]";
  }
};

/// %t0, %t1, .. are loaded, `body` computes %r0, %r1, .. from them ($t0, $r0: their types), and they are stored.
std::string program(const std::vector<Operand> &inputs, const std::vector<Operand> &outputs, std::string body) {
  std::string arguments, loads, stores;
  auto number = [&](const char *kind, const std::vector<Operand> &operands, auto &&each) {
    for (size_t i = 0; i < operands.size(); ++i) {
      std::string n = std::to_string(i);
      arguments += (arguments.empty() ? "" : ", ") + ("%" + std::string(kind) + n + ": ") + operands[i].memref();
      each(n, operands[i]);
      std::string name = (kind[0] == 'm' ? "$t" : "$r") + n;
      for (size_t at; (at = body.find(name)) != std::string::npos;)
        body.replace(at, name.size(), operands[i].tile());
    }
  };
  number("m", inputs, [&](const std::string &n, const Operand &operand) {
    loads += "  %t" + n + " = tile.load %m" + n + operand.access() + " : " + operand.memref() + " -> " +
             operand.tile() + "\n";
  });
  number("o", outputs, [&](const std::string &n, const Operand &operand) {
    stores += "  tile.store %r" + n + ", %o" + n + operand.access() + " : " + operand.tile() + " -> " +
              operand.memref() + "\n";
  });
  return "func.func @main(" + arguments + ") {\n  %c0 = arith.constant 0 : index\n" + loads + "  " + body + "\n" +
         stores + "  return\n}\n";
}

/// Runs and interprets; outputs must agree to `relative` of the largest output, or (types of 16 bits and less) one step
/// of their own.
void expectAgreement(const std::vector<Operand> &inputs, const std::vector<Operand> &outputs, const std::string &body,
                     double relative) {
  std::string text = program(inputs, outputs, body);
  for (const tpac::CpuTraits &options : testedOptions()) {
    SCOPED_TRACE(text + "lanes " + std::to_string(options.lanes));
    TestKernel kernel(text, options);
    std::vector<TestTensor> got, expected;
    std::vector<MemoryView> gotViews, expectedViews;
    got.reserve(inputs.size() + outputs.size());
    expected.reserve(inputs.size() + outputs.size());
    for (size_t i = 0; i < inputs.size(); ++i)
      got.push_back(TestTensor::random(inputs[i].type, inputs[i].shape(), inputs[i].scale, 17 + i));
    for (const Operand &output : outputs)
      got.emplace_back(output.type, output.shape());
    expected = got;
    for (size_t i = 0; i < got.size(); ++i) {
      gotViews.push_back(got[i].view());
      expectedViews.push_back(expected[i].view());
    }
    kernel.run(gotViews, {});
    kernel.interpret(expectedViews, {}, true);
    for (size_t i = 0; i < got.size(); ++i) {
      ASSERT_TRUE(got[i].isIntact());
      double largest = 0;
      for (int64_t j = 0; j < got[i].count(); ++j)
        if (std::isfinite(expected[i].at(j)))
          largest = std::max(largest, std::abs(expected[i].at(j)));
      for (int64_t j = 0; j < got[i].count(); ++j) {
        double want = expected[i].at(j), have = got[i].at(j);
        if (std::isnan(want) || std::isinf(want) || i < inputs.size()) {
          ASSERT_TRUE(std::isnan(want) ? std::isnan(have) : want == have) << "tensor " << i << " element " << j;
          continue;
        }
        ASSERT_NEAR(have, want, relative * largest) << "tensor " << i << " element " << j;
      }
    }
  }
}

/// Largest relative difference that one rounding of a type may make, beyond that of the arithmetic.
double stepOf(ElementType type) {
  switch (type) {
  case ElementType::f64:
    return 1e-13;
  case ElementType::f32:
    return 4e-6;
  case ElementType::bf16:
    return 8e-3;
  case ElementType::f16:
    return 1e-3;
  default:
    return 0.13;
  }
}

constexpr ElementType floats[] = {ElementType::f64, ElementType::f32, ElementType::bf16, ElementType::f16};
constexpr ElementType storages[] = {ElementType::f64, ElementType::f32,      ElementType::bf16,
                                    ElementType::f16, ElementType::f8E4M3FN, ElementType::i8};

} // namespace

TEST(CpuOps, LoadAndStoreKeepEveryElementType) {
  for (ElementType type : {ElementType::f64, ElementType::f32, ElementType::bf16, ElementType::f16,
                           ElementType::f8E4M3FN, ElementType::i8, ElementType::i32})
    for (int64_t size : {1, 11, 16, 47, 100}) {
      Operand tensor{{{"m", 5}, {"d", size}}, type, 50.0};
      expectAgreement({tensor}, {tensor}, "%r0 = tile.convert %t0 : $t0 -> $r0", 0.0);
    }
}

TEST(CpuOps, ConvertRoundsAndTransposes) {
  for (ElementType from : storages)
    for (ElementType to : floats)
      for (auto [rows, columns] : sampled<std::pair<int64_t, int64_t>>({{7, 1}, {7, 11}, {7, 47}, {19, 32}}))
        expectAgreement({{{{"m", rows}, {"d", columns}}, from, 50.0}}, {{{{"d", columns}, {"m", rows}}, to}},
                        "%r0 = tile.convert %t0 : $t0 -> $r0", 0.0);
}

TEST(CpuOps, Elementwise) {
  for (ElementType type : floats)
    for (int64_t heads : sampled<int64_t>({1, 7, 11, 47})) {
      Operand scores{{{"n", 2}, {"h", heads}, {"m", 9}}, type};
      Operand head{{{"m", 9}, {"h", heads}}, ElementType::bf16};
      Operand state{{{"n", 2}, {"h", heads}}, ElementType::f32};
      double step = stepOf(type);
      expectAgreement({scores, head}, {scores}, "%r0 = tile.mul %t0, %t1 : $t0, $t1 -> $r0", step);
      expectAgreement({scores, state}, {scores}, "%r0 = tile.mul %t0, %t1 : $t0, $t1 -> $r0", step);
      expectAgreement({scores, scores}, {scores}, "%r0 = tile.add %t0, %t1 : $t0, $t1 -> $r0", step);
      expectAgreement({scores}, {scores}, "%r0 = tile.constant_mul %t0, 0.3 : $t0 -> $r0", step);
      Operand large = scores;
      large.scale = 300.0;
      expectAgreement({large}, {scores}, "%r0 = tile.softcap %t0, 50.0 : $t0 -> $r0", step);
    }
}

TEST(CpuOps, FillAndSplit) {
  Operand tile{{{"h", 11}, {"d", 9}}, ElementType::f32};
  expectAgreement({}, {tile}, "%r0 = tile.fill 0.1 : $r0", 1e-7);
  for (ElementType narrow : {ElementType::bf16, ElementType::f16}) {
    Operand part{{{"h", 11}, {"d", 9}}, narrow};
    expectAgreement({tile}, {part, part}, "%r0, %r1 = tile.split %t0 : $t0 -> $r0", 0.0);
  }
}

TEST(CpuOps, Dot) {
  struct Case {
    std::vector<std::pair<std::string, int64_t>> lhs, rhs, result;
  };
  for (int64_t heads : sampled<int64_t>({1, 4, 11, 47, 100}))
    for (int64_t tokens : {1, 13})
      for (const Case &shape : std::vector<Case>{
               // Scores and values of factored K and V.
               {{{"n", 2}, {"h", heads}, {"d", 20}},
                {{"m", tokens}, {"d", 20}},
                {{"n", 2}, {"h", heads}, {"m", tokens}}},
               {{{"n", 2}, {"h", heads}, {"m", tokens}},
                {{"m", tokens}, {"e", 19}},
                {{"n", 2}, {"h", heads}, {"e", 19}}},
               // The merged query.
               {{{"n", 2}, {"r", 6}, {"h", heads}},
                {{"n", 2}, {"r", 6}, {"d", 17}},
                {{"n", 2}, {"h", heads}, {"d", 17}}},
               // Heads with keys and values of their own.
               {{{"h", heads}, {"d", 20}}, {{"m", tokens}, {"h", heads}, {"d", 20}}, {{"h", heads}, {"m", tokens}}},
               {{{"h", heads}, {"m", tokens}}, {{"m", tokens}, {"h", heads}, {"e", 33}}, {{"h", heads}, {"e", 33}}},
               // Nothing contracted; everything contracted, but for one axis.
               {{{"h", heads}}, {{"m", tokens}}, {{"m", tokens}, {"h", heads}}},
               {{{"h", heads}, {"m", tokens}}, {{"h", heads}, {"m", tokens}, {"n", 2}}, {{"n", 2}}}}) {
        Operand lhs{shape.lhs, ElementType::f32}, rhs{shape.rhs, ElementType::bf16};
        Operand result{shape.result, ElementType::f32};
        expectAgreement({lhs, rhs, result}, {result, result},
                        "%r0 = tile.dot %t0, %t1 : $t0, $t1 -> $r0\n"
                        "  %r1 = tile.dot %t0, %t1 acc %t2 : $t2, $t0, $t1 -> $r1",
                        3e-5);
      }
}

TEST(CpuOps, DotOfEveryElementType) {
  for (ElementType left : floats)
    for (ElementType right : storages)
      for (ElementType sum : {ElementType::f32, ElementType::f64}) {
        Operand lhs{{{"h", 11}, {"d", 20}}, left}, rhs{{{"m", 13}, {"d", 20}}, right, 5.0};
        Operand result{{{"h", 11}, {"m", 13}}, sum};
        expectAgreement({lhs, rhs}, {result}, "%r0 = tile.dot %t0, %t1 : $t0, $t1 -> $r0", stepOf(sum));
      }
}

TEST(CpuOps, SoftmaxStepAndFinish) {
  for (ElementType type : {ElementType::f32, ElementType::f64})
    for (int64_t heads : {1, 11, 47})
      for (int64_t tokens : {1, 37}) {
        Operand logits{{{"n", 2}, {"h", heads}, {"m", tokens}}, type, 30.0};
        Operand state{{{"n", 2}, {"h", heads}}, type, 30.0};
        double step = type == ElementType::f64 ? 1e-12 : 4e-6;
        expectAgreement({logits, state, state}, {logits, state, state, state},
                        "%r0, %r1, %r2, %r3 = tile.softmax_step %t0, %t1, %t2 : $t0, $t1 -> $r0", step);
        Operand accumulator{{{"n", 2}, {"h", heads}, {"e", 9}}, type};
        expectAgreement({accumulator, state, state}, {accumulator, state},
                        "%p = tile.mul %t2, %t2 : $t2, $t2 -> $t2\n"
                        "  %r0, %r1 = tile.finish %t0, %t1, %p : $t0, $t1",
                        step);
      }
}

TEST(CpuOps, SoftmaxOfHiddenTokens) {
  for (int64_t heads : {2, 11, 47}) {
    Operand logits{{{"n", 3}, {"h", heads}, {"m", 13}}, ElementType::f32, 30.0};
    Operand state{{{"n", 3}, {"h", heads}}, ElementType::f32};
    // Token 20 is the block's first; query 0 sees none of it, query 1 one, query 2 two.
    expectAgreement({logits}, {logits, state, state, state},
                    "%at = arith.constant 20 : index\n  %end = arith.constant 30 : index\n"
                    "  %none = tile.fill 0xFFF0000000000000 : $r1\n  %zero = tile.fill 0.0 : $r2\n"
                    "  %k = tile.mask %t0 at %at, %at, %end causal : $t0 -> $t0\n"
                    "  %r0, %r1, %r2, %r3 = tile.softmax_step %k, %none, %zero : $t0, $r1 -> $r0",
                    4e-6);
  }
}

TEST(CpuOps, Mask) {
  for (int64_t heads : {2, 47})
    for (const char *kind : {"", " causal", " causal window 5", " window 3"})
      for (int64_t limit : {18, 24, 60}) {
        Operand logits{{{"n", 3}, {"h", heads}, {"m", 13}}, ElementType::f32};
        expectAgreement({logits}, {logits},
                        "%at = arith.constant 20 : index\n  %limit = arith.constant " + std::to_string(limit) +
                            " : index\n  %end = arith.constant 31 : index\n"
                            "  %r0 = tile.mask %t0 at %at, %limit, %end" +
                            kind + " : $t0 -> $r0",
                        0.0);
      }
}

TEST(CpuOps, MaskOfQueriesAsVectors) {
  // Few heads and a product of bf16: vectors run along the queries, each of which sees other tokens.
  Operand query{{{"n", 35}, {"h", 1}, {"d", 16}}, ElementType::bf16}, keys{{{"m", 13}, {"d", 16}}, ElementType::bf16};
  Operand logits{{{"n", 35}, {"h", 1}, {"m", 13}}, ElementType::f32};
  for (const char *kind : {"", " causal", " causal window 5", " window 3"})
    for (int64_t limit : {2, 18, 24, 60})
      expectAgreement({query, keys}, {logits},
                      "%at = arith.constant 20 : index\n  %limit = arith.constant " + std::to_string(limit) +
                          " : index\n  %end = arith.constant 31 : index\n"
                          "  %s = tile.dot %t0, %t1 : $t0, $t1 -> $r0\n"
                          "  %r0 = tile.mask %s at %at, %limit, %end" +
                          kind + " : $r0 -> $r0",
                      1e-5);
}

TEST(CpuOps, Merge) {
  for (int64_t heads : {2, 47})
    for (ElementType type : {ElementType::f32, ElementType::f64}) {
      Operand out{{{"n", 2}, {"h", heads}, {"e", 9}}, type};
      Operand lse{{{"n", 2}, {"h", heads}}, type, 20.0};
      double step = type == ElementType::f64 ? 1e-12 : 4e-6;
      expectAgreement({out, lse, out, lse}, {out, lse}, "%r0, %r1 = tile.merge %t0, %t1, %t2, %t3 : $t0, $t1", step);
      // A part that saw nothing may hold anything.
      expectAgreement({out, lse}, {out, lse},
                      "%none = tile.fill 0xFFF0000000000000 : $t1\n  %nan = tile.fill 0x7FF8000000000000 : $t0\n"
                      "  %r0, %r1 = tile.merge %nan, %none, %t0, %t1 : $t0, $t1",
                      step);
      expectAgreement({out}, {out, lse},
                      "%none = tile.fill 0xFFF0000000000000 : $r1\n"
                      "  %r0, %r1 = tile.merge %t0, %none, %t0, %none : $t0, $r1",
                      step);
    }
}

TEST(CpuOps, Rope) {
  for (const char *layout : {"half", "interleaved"})
    for (int64_t heads : {2, 47})
      for (int64_t rotated : {8, 32}) {
        std::string rope = "<layout = " + std::string(layout) + ", d_rot = " + std::to_string(rotated) +
                           ", offset = 2, base = 1.000000e+04, amplitude = 1.250000e+00>";
        Operand positions{{{"n", 3}}, ElementType::i32, 100.0};
        for (const Operand &input :
             {Operand{{{"n", 3}, {"r", 2}, {"d", 80}}, ElementType::bf16}, Operand{{{"n", 3}, {"h", heads}, {"d", 80}}},
              Operand{{{"n", 3}, {"d", 80}, {"h", heads}}}}) {
          Operand result = input;
          result.type = ElementType::f32;
          expectAgreement({input, positions}, {result},
                          "%r0 = tile.rope " + rope + " block 40 axis \"d\" %t0, %t1 : $t0, $t1 -> $r0", 4e-6);
        }
        // A learned factor is the same for every token.
        expectAgreement({{{{"r", 2}, {"d", 40}}}, positions}, {{{{"n", 3}, {"r", 2}, {"d", 40}}}},
                        "%r0 = tile.rope " + rope + " block 40 axis \"d\" %t0, %t1 : $t0, $t1 -> $r0", 4e-6);
      }
}

TEST(CpuOps, RopeOfLongSequences) {
  // Every quarter of a turn, positions up to 2^20 and up to 2^30, in the arithmetic of both types.
  for (double farthest : {1e6, 1e9})
    for (ElementType type : {ElementType::f32, ElementType::f64}) {
      Operand positions{{{"n", 500}}, ElementType::i32, farthest};
      Operand input{{{"n", 500}, {"d", 32}}, type};
      // An angle is off by 2^-53 of itself before anything is computed of it; interpreter and kernel may differ there.
      double step = (type == ElementType::f32 ? 4e-7 : 2e-15) + 4e-16 * farthest;
      expectAgreement({input, positions}, {input},
                      "%r0 = tile.rope <layout = half, d_rot = 32, base = 1.000000e+04> block 32 axis \"d\" %t0, %t1 : "
                      "$t0, $t1 -> $r0",
                      step);
    }
}

TEST(CpuOps, OuterAndSlice) {
  for (int64_t fast : {3, 16, 32})
    for (int64_t slow : {1, 2, 5})
      for (int64_t heads : {1, 47}) {
        Operand lhs{{{"m", 9}, {"d0", fast}}, ElementType::bf16}, rhs{{{"m", 9}, {"d1", slow}}, ElementType::f32};
        Operand result{{{"m", 9}, {"d", fast * slow}}, ElementType::f32};
        expectAgreement({lhs, rhs}, {result}, "%r0 = tile.outer %t0, %t1 join \"d0\" \"d1\" as \"d\" : $t0, $t1 -> $r0",
                        1e-6);
        Operand whole{{{"m", 9}, {"h", heads}, {"d", fast + slow}}, ElementType::bf16};
        Operand part{{{"m", 9}, {"h", heads}, {"e", fast}}, ElementType::bf16};
        expectAgreement({whole}, {part}, "%r0 = tile.slice %t0 \"d\" as \"e\" : $t0 -> $r0", 0.0);
      }
}

TEST(CpuOps, HeadFunctions) {
  for (const char *function : {"identity", "sigmoid", "softmax"})
    for (int64_t heads : {1, 3, 47})
      for (double scale : {2.0, 200.0}) {
        Operand input{{{"n", 3}, {"r", 2}, {"h", heads}}, ElementType::f32, scale};
        expectAgreement({input}, {input}, "%r0 = tile.head_function " + std::string(function) + " %t0 : $t0 -> $r0",
                        4e-6);
      }
}

TEST(CpuOps, Quantize) {
  for (ElementType type : {ElementType::i8, ElementType::f8E4M3FN})
    for (int64_t size : {1, 16, 47})
      for (int64_t heads : {1, 11}) {
        Operand input{{{"n", 3}, {"h", heads}, {"d", size}}, ElementType::f32, 3.0};
        Operand values = input, scale{{{"n", 3}, {"h", heads}}, ElementType::f32};
        values.type = type;
        expectAgreement({input}, {values, scale}, "%r0, %r1 = tile.quantize %t0 along \"d\" : $t0 -> $r0, $r1", 1e-6);
      }
}

TEST(CpuOps, LimitsAndStrides) {
  constexpr int64_t rows = 5, columns = 37;
  for (ElementType type : {ElementType::f32, ElementType::bf16, ElementType::i8})
    for (const tpac::CpuTraits &options : testedOptions()) {
      std::string element(elementTypeName(type));
      std::string memory = "memref<?x?x" + element + ", strided<[?, ?], offset: ?>>";
      std::string tile = "!tile.tile<m 5, d 37, " + element + ">";
      std::string limits = " axes [\"m\", \"d\"] limits [\"m\", \"d\"] (%rows, %columns) : ";
      TestKernel kernel("func.func @main(%in: " + memory + ", %part: " + memory + ", %all: " + memory +
                            ", %rows: index, %columns: index) {\n  %c0 = arith.constant 0 : index\n"
                            "  %t = tile.load %in[%c0, %c0]" +
                            limits + memory + " -> " + tile + "\n  tile.store %t, %part[%c0, %c0]" + limits + tile +
                            " -> " + memory + "\n  tile.store %t, %all[%c0, %c0] axes [\"m\", \"d\"] : " + tile +
                            " -> " + memory + "\n  return\n}\n",
                        options);
      for (int64_t stride : {1, 2})
        for (int64_t m : {-1, 0, 3, 5, 7})
          for (int64_t d : {0, 1, 16, 20, 37, 40}) {
            TestTensor in = TestTensor::random(type, {rows, columns * stride}, 100.0, 3);
            TestTensor part(type, {rows, columns * stride}), all = part;
            auto view = [&](const TestTensor &tensor) {
              MemoryView result = tensor.view();
              result.shape = {rows, columns};
              result.strides = {columns * stride, stride};
              return result;
            };
            // What lies beyond the limits may be anything, and is not read.
            for (int64_t i = 0; i < rows; ++i)
              for (int64_t j = 0; j < columns * stride; ++j)
                if (type != ElementType::i8 && (i >= m || j >= d * stride))
                  in.set(i * columns * stride + j, std::nan(""));
            kernel.run({view(in), view(part), view(all)}, {m, d});
            ASSERT_TRUE(part.isIntact() && all.isIntact());
            double untouched = TestTensor(type, {1}).at(0);
            for (int64_t i = 0; i < rows; ++i)
              for (int64_t j = 0; j < columns * stride; ++j) {
                int64_t at = i * columns * stride + j;
                bool element = j % stride == 0, inside = element && i < m && j / stride < d;
                auto expect = [&](double got, double want) {
                  ASSERT_TRUE(std::isnan(want) ? std::isnan(got) : got == want) << i << ", " << j << ": " << got;
                };
                expect(part.at(at), inside ? in.at(at) : untouched);
                expect(all.at(at), inside ? in.at(at) : element ? 0.0 : untouched);
              }
          }
    }
}

/// A tile of 24 tokens of a tensor [blocks, heads, features, `block`], features along axis `feature`, is loaded from
/// any token on, stored into another such tensor, and all of it stored as [tokens, heads, features].
void checkBlocks(ElementType type, int64_t block, int64_t heads, const std::string &feature,
                 const tpac::CpuTraits &options) {
  constexpr int64_t tokens = 24, features = 5, stored = 70;
  std::string element(elementTypeName(type)), h = std::to_string(heads), quoted = "\"" + feature + "\"";
  SCOPED_TRACE("blocks of " + std::to_string(block) + ", " + h + " heads, lanes " + std::to_string(options.lanes));
  std::string memory =
      "memref<?x" + h + "x5x" + std::to_string(block) + "x" + element + ", strided<[?, ?, ?, ?], offset: ?>>";
  std::string plain = "memref<24x" + h + "x5x" + element + ">";
  std::string tile = "!tile.tile<m 24, h " + h + ", " + feature + " 5, " + element + ">";
  std::string access = "[%start, %c0, %c0, %c0] axes [\"m\", \"h\", " + quoted + ", \"m\"] limits [\"m\", " + quoted +
                       "] (%count, %part) : ";
  TestKernel kernel("func.func @main(%in: " + memory + ", %out: " + memory + ", %all: " + plain +
                        ", %start: index, %count: index, %part: index) {\n  %c0 = arith.constant 0 : index\n"
                        "  %t = tile.load %in" +
                        access + memory + " -> " + tile + "\n  tile.store %t, %out" + access + tile + " -> " + memory +
                        "\n  tile.store %t, %all[%c0, %c0, %c0] axes [\"m\", \"h\", " + quoted + "] : " + tile +
                        " -> " + plain + "\n  return\n}\n",
                    options);
  int64_t blocks = (stored + block - 1) / block;
  for (int64_t stride : {1, 2})
    for (int64_t start : {0, 3, 16, 32, 46})
      for (int64_t count : {-1, 0, 7, 16, 23, 24, 30})
        for (int64_t part : {4, 5}) {
          TestTensor in = TestTensor::random(type, {blocks, heads, features, block * stride}, 100.0, 3);
          TestTensor out(type, {blocks, heads, features, block * stride}), all(type, {tokens, heads, features});
          auto view = [&](const TestTensor &tensor) {
            MemoryView result = tensor.view();
            result.shape = {blocks, heads, features, block};
            result.strides.back() = stride;
            return result;
          };
          auto at = [&](int64_t token, int64_t h, int64_t e) {
            return (((token / block) * heads + h) * features + e) * block * stride + token % block * stride;
          };
          // What is beyond the limits may be anything, and is not read.
          auto isInside = [&](int64_t m, int64_t e) { return m >= 0 && m < std::min(count, tokens) && e < part; };
          if (type != ElementType::i8)
            for (int64_t token = 0; token < blocks * block; ++token)
              for (int64_t i = 0; i < heads * features; ++i)
                if (!isInside(token - start, i % features))
                  in.set(at(token, i / features, i % features), std::nan(""));
          kernel.run({view(in), view(out), all.view()}, {start, count, part});
          ASSERT_TRUE(out.isIntact() && all.isIntact());
          for (int64_t m = 0; m < tokens; ++m)
            for (int64_t i = 0; i < heads * features; ++i) {
              int64_t h = i / features, e = i % features;
              double want = isInside(m, e) ? in.at(at(start + m, h, e)) : 0.0;
              ASSERT_EQ(all.at((m * heads + h) * features + e), want)
                  << start << ", " << count << ": " << m << ", " << i;
            }
          TestTensor expected(type, {blocks, heads, features, block * stride});
          for (int64_t m = 0; m < std::min(count, tokens); ++m)
            for (int64_t i = 0; i < heads * features; ++i)
              if (isInside(m, i % features)) {
                int64_t place = at(start + m, i / features, i % features);
                expected.set(place, in.at(place));
              }
          for (int64_t i = 0; i < out.count(); ++i) {
            double want = expected.at(i), got = out.at(i);
            ASSERT_TRUE(std::isnan(want) ? std::isnan(got) : got == want) << start << ", " << count << ": " << i;
          }
        }
}

TEST(CpuOps, AxesInBlocks) {
  for (auto [type, block] :
       {std::pair(ElementType::f32, 3), {ElementType::f32, 8}, {ElementType::bf16, 32}, {ElementType::i8, 32}})
    // Vectors along the features, heads and tokens.
    for (auto [heads, feature] : {std::pair(2, "e"), {8, "e"}, {2, "x"}})
      for (const tpac::CpuTraits &options : testedOptions())
        checkBlocks(type, block, heads, feature, options);
}

TEST(CpuOps, TilesThroughLoopsAndBranches) {
  // Two tiles change places n times; then one of them, doubled, where `flag` is 1.
  const char *text = R"(
    !t = !tile.tile<h 11, f32>
    func.func @main(%in: memref<2x11xf32>, %out: memref<3x11xf32>, %n: index, %flag: index) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c2 = arith.constant 2 : index
      %a = tile.load %in[%c0, %c0] axes ["", "h"] : memref<2x11xf32> -> !t
      %b = tile.load %in[%c1, %c0] axes ["", "h"] : memref<2x11xf32> -> !t
      %r:3 = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a, %count = %c0, %y = %b) -> (!t, index, !t) {
        %next = arith.addi %count, %c1 : index
        scf.yield %y, %next, %x : !t, index, !t
      }
      %isSet = arith.cmpi eq, %flag, %r#1 : index
      %s = scf.if %isSet -> (!t) {
        %double = tile.add %r#0, %r#0 : !t, !t -> !t
        scf.yield %double : !t
      } else {
        scf.yield %b : !t
      }
      tile.store %r#0, %out[%c0, %c0] axes ["", "h"] : !t -> memref<3x11xf32>
      tile.store %r#2, %out[%c1, %c0] axes ["", "h"] : !t -> memref<3x11xf32>
      tile.store %s, %out[%c2, %c0] axes ["", "h"] : !t -> memref<3x11xf32>
      return
    })";
  for (const tpac::CpuTraits &options : testedOptions()) {
    TestKernel kernel(text, options);
    TestTensor in = TestTensor::random(ElementType::f32, {2, 11}, 1.0, 3);
    for (int64_t n : {0, 1, 2, 3})
      for (int64_t flag : {1, 2}) {
        TestTensor out(ElementType::f32, {3, 11});
        kernel.run({in.view(), out.view()}, {n, flag});
        for (int64_t h = 0; h < 11; ++h) {
          EXPECT_EQ(out.at(h), in.at(n % 2 * 11 + h));
          EXPECT_EQ(out.at(11 + h), in.at((n + 1) % 2 * 11 + h));
          EXPECT_EQ(out.at(22 + h), n == flag ? 2 * in.at(n % 2 * 11 + h) : in.at(11 + h));
        }
      }
  }
}
