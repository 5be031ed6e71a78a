// SPDX-License-Identifier: Apache-2.0
//
// Relative errors and their tolerances, on numbers small enough to check by hand.

#include "TestModel.h"

#include "dialect/json/VariantJson.h"
#include "tools/tpac/ModelErrors.h"

#include "mlir/IR/MLIRContext.h"

#include <cmath>
#include <limits>

namespace tpac::test {

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan = std::numeric_limits<double>::quiet_NaN();

ModelErrors compare(std::vector<double> found, std::vector<double> expected) { return compareRows(found, expected, 2); }

class Tolerances : public testing::Test {
protected:
  mlir::tpa::VariantAttr variant(const char *activation, const char *head, const char *token, const char *output) {
    nlohmann::json json = config("t6-mini");
    json["types"] = {{"activation", activation}, {"head", head}, {"token", token}, {"output", output}};
    return llvm::cantFail(mlir::tpa::readVariant(json.dump(), "variant", context));
  }

  mlir::MLIRContext context;
};

} // namespace

TEST(Errors, OfTheWholeAndOfTheWorstRow) {
  // Rows (3, 4) and (0, 12): norms 5 and 12, 13 together; off by 0.5 and 1.2.
  ModelErrors errors = compare({3.5, 4, 1.2, 12}, {3, 4, 0, 12});
  EXPECT_DOUBLE_EQ(errors.whole, 1.3 / 13);
  EXPECT_DOUBLE_EQ(errors.worstRow, 0.1);
  errors = compare({3, 4, 0, 12}, {3, 4, 0, 12});
  EXPECT_EQ(errors.whole, 0);
  EXPECT_EQ(errors.worstRow, 0);
}

TEST(Errors, OfRowsOfZeros) {
  ModelErrors errors = compare({0, 0, 3, 4}, {0, 0, 3, 4});
  EXPECT_EQ(errors.worstRow, 0);
  errors = compare({0, 1e-9, 3, 4}, {0, 0, 3, 4});
  EXPECT_EQ(errors.worstRow, infinity);
  EXPECT_LT(errors.whole, 1e-9);
}

TEST(Errors, OfWhatIsNotFinite) {
  for (double bad : {nan, infinity, -infinity}) {
    ModelErrors errors = compare({bad, 4, 3, 5}, {3, 4, 3, 4});
    EXPECT_FALSE(std::isfinite(errors.whole)) << bad;
    EXPECT_FALSE(std::isfinite(errors.worstRow)) << bad;
    EXPECT_FALSE(std::isfinite(compare({3, 4, 3, 4}, {3, 4, 3, bad}).whole)) << bad;
  }
}

TEST(Errors, RefusesOtherSizes) {
  EXPECT_EQ(thrownBy([] { compare({1, 2}, {1, 2, 3, 4}); }),
            "tensor out: found 2 elements, accepted are the 4 recorded ones");
}

TEST_F(Tolerances, FollowTheWidestRounding) {
  EXPECT_EQ(defaultTolerance(variant("f32", "f32", "f32", "f32")), 2e-6);
  EXPECT_EQ(defaultTolerance(variant("f32", "f32", "f16", "f32")), 3e-3);
  EXPECT_EQ(defaultTolerance(variant("f32", "bf16", "f16", "f32")), 1e-2);
  EXPECT_EQ(defaultTolerance(variant("bf16", "f32", "f32", "f32")), 1e-2);
  EXPECT_EQ(defaultTolerance(variant("f32", "f32", "f32", "f16")), 3e-3);
  EXPECT_NE(thrownBy([&] { defaultTolerance(variant("f32", "f32", "i8", "f32")); }).find("/types/token: found \"i8\""),
            std::string::npos);
}

TEST_F(Tolerances, OfRowsGrowWithTheLogitsOfWideTypes) {
  mlir::tpa::VariantAttr wide = variant("f32", "f32", "f32", "f32");
  EXPECT_DOUBLE_EQ(rowTolerance(wide, 2e-6, std::vector<double>{1, -5}), 4e-5);
  EXPECT_DOUBLE_EQ(rowTolerance(wide, 2e-6, std::vector<double>{1, -500}), 2e-3);
  EXPECT_DOUBLE_EQ(rowTolerance(wide, 2e-6, std::vector<double>{-infinity, nan, 20}), 8e-5);
  EXPECT_DOUBLE_EQ(rowTolerance(variant("f32", "f32", "f16", "f32"), 3e-3, std::vector<double>{500}), 6e-2);
}

} // namespace tpac::test
