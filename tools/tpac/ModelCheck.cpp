// SPDX-License-Identifier: Apache-2.0

#include "tools/tpac/ModelCheck.h"

#include "dialect/json/VariantJson.h"
#include "tools/tpac/ModelConfiguration.h"
#include "tools/tpac/ModelErrors.h"
#include "tools/tpac/ModelLayer.h"
#include "tools/tpac/ModelTensors.h"

#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/DebugStringHelper.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>

using mlir::tpa::VariantAttr;

namespace tpac {

namespace {

VariantAttr readVariant(const std::string &json, mlir::MLIRContext &context) {
  llvm::Expected<VariantAttr> variant = mlir::tpa::readVariant(json, "variant", context);
  if (!variant)
    throw std::runtime_error(llvm::toString(variant.takeError()));
  return *variant;
}

ModelCheckRow checkPhase(VariantAttr variant, const Recording &recording, ModelLayer &layer, Phase phase,
                         double tolerance) {
  auto start = std::chrono::steady_clock::now();
  layer.attend(phase, phase == Phase::prefill ? recording.tokens : 1);
  std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;

  std::vector<double> lse = layer.result("lse");
  ModelErrors errors = compareRows(layer.result("out"), recording.output, variant.getValueFeatures());
  ModelCheckRow row = {recording.layer,
                       std::string(phaseName(phase)),
                       mlir::debugString(variant.getTypes().getToken()),
                       recording.tokens,
                       errors.whole,
                       errors.worstRow,
                       tolerance,
                       rowTolerance(variant, tolerance, lse),
                       false,
                       seconds.count()};
  // Every query sees itself at least, so no LSE may be infinite.
  bool finite = std::ranges::all_of(lse, [](double value) { return std::isfinite(value); });
  row.pass = finite && row.relativeError <= row.tolerance && row.worstRowError <= row.rowTolerance;
  return row;
}

} // namespace

std::vector<ModelCheckRow> checkModel(const ModelCheckOptions &options) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  VariantAttr variant = readVariant(options.variantJson, context);
  auto file = [&](const char *ending) { return options.directory / (variant.getName().str() + ending); };
  double tolerance = options.tolerance ? *options.tolerance : defaultTolerance(variant);
  checkConfiguration(file(".json"), variant);
  safetensors::File weights = safetensors::File::open(file(".safetensors"));
  safetensors::File reference = safetensors::File::open(file(".reference.safetensors"));
  std::vector<Recording> recordings = loadRecordings(reference, variant);

  std::unique_ptr<Executable> executable = Executable::compile(options.variantJson, ModelLayer::phases, options.path,
                                                               "host", /*valueBlock=*/std::nullopt, options.pageSize);
  std::vector<ModelCheckRow> rows;
  for (const Recording &recording : recordings) {
    auto inputs = loadWeights(weights, variant, recording.layer, recording.channels);
    inputs["hidden"] = recording.input;
    ModelLayer layer(*executable, recording.tokens, recording.channels, inputs);
    for (Phase phase : {Phase::prefill, Phase::decode})
      rows.push_back(checkPhase(variant, recording, layer, phase, tolerance));
  }
  return rows;
}

} // namespace tpac
