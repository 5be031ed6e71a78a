// SPDX-License-Identifier: Apache-2.0
//
// tpac check: is a variant valid, and does it compute what a trained model computes?

#include "dialect/PhaseOperands.h"
#include "lowering/emit/SignatureText.h"
#include "lowering/phases/BuildPhases.h"
#include "tools/tpac/Commands.h"
#include "tools/tpac/ModelCheck.h"
#include "tools/tpac/Table.h"
#include "tools/tpac/VariantFile.h"

#include <nlohmann/json.hpp>

#include <iostream>

namespace tpac {
namespace {

using Json = nlohmann::ordered_json;
using mlir::tpa::VariantAttr;

struct CheckOptions {
  std::string variant;
  std::string model;
  std::vector<std::string> storage = {"f32", "bf16"};
  int64_t pageSize = 0;
  bool reference = false;
  bool json = false;
};

// --- The variant by itself ---

/// Bytes per cached token of a dense multi-head cache with the same heads, features and head type.
int64_t multiHeadBytes(VariantAttr variant) {
  int64_t numbers = variant.getHeads().getLocal() * (variant.getKeyFeatures() + variant.getValueFeatures());
  return numbers * variant.getTypes().getHead().getIntOrFloatBitWidth() / 8;
}

std::string sideText(mlir::tpa::FactorizationAttr side) {
  if (side.isDense())
    return "dense, " + std::to_string(side.getFeatures()) + " features";
  std::string text =
      "rank " + std::to_string(side.getRank()) + ", head " + stringifySource(side.getHead().getSource()).str();
  if (auto map = side.getHead().getMap())
    text += " (" + stringifyHeadMap(*map).str() + ")";
  text += ", token";
  for (mlir::tpa::TokenFactorAttr factor : side.getToken())
    text += " " + stringifySource(factor.getSource()).str() + " " + std::to_string(factor.getSize());
  return text;
}

void checkVariant(const CheckOptions &options) {
  VariantFile file(options.variant);
  VariantAttr variant = file.variant();
  CacheBytes bytes = cacheBytesPerToken({getPhaseSignature(variant, Phase::append)});
  int64_t dense = multiHeadBytes(variant);
  if (options.json) {
    Json json = {{"variant", Json::parse(file.json())},
                 {"valid", true},
                 {"cache_bytes_per_token",
                  {{"head", bytes.head},
                   {"token", bytes.token},
                   {"scale", bytes.scale},
                   {"position", bytes.position},
                   {"total", bytes.total()},
                   {"multi_head", dense}}}};
    std::cout << json.dump(2) << '\n';
    return;
  }
  std::cout << variant.getName().str() << ": a valid variant\n";
  Table table({{"property"}, {"value"}});
  table.addRow({"heads", std::to_string(variant.getHeads().getLocal()) + " of " +
                             std::to_string(variant.getHeads().getTotal())});
  table.addRow({"q", sideText(variant.getQ())});
  table.addRow({"k", sideText(variant.getK())});
  table.addRow({"v", sideText(variant.getV())});
  table.addRow({"cache bytes per token", std::to_string(bytes.total())});
  if (bytes.total() > 0)
    table.addRow({"multi-head attention",
                  std::to_string(dense) + " bytes (" + format("%.1fx", double(dense) / bytes.total()) + ")"});
  table.print(std::cout);
}

// --- Against a trained model ---

void checkAgainstModel(const CheckOptions &options) {
  VariantFile file(options.variant);
  std::vector<ModelCheckRow> rows;
  for (const std::string &storage : options.storage) {
    ModelCheckOptions check;
    check.variantJson = file.jsonWithStorage(storage);
    check.directory = options.model;
    check.path = options.reference ? CodePath::reference : CodePath::fused;
    check.pageSize = options.pageSize;
    for (ModelCheckRow &row : checkModel(check))
      rows.push_back(std::move(row));
  }
  bool pass = std::ranges::all_of(rows, &ModelCheckRow::pass);
  std::string name = file.variant().getName().str();

  if (options.json) {
    Json json = {{"variant", name}, {"model", options.model}, {"pass", pass}, {"rows", Json::array()}};
    for (const ModelCheckRow &row : rows)
      json["rows"].push_back({{"layer", row.layer},
                              {"phase", row.phase},
                              {"storage", row.storage},
                              {"tokens", row.tokens},
                              {"relative_error", row.relativeError},
                              {"tolerance", row.tolerance},
                              {"worst_row_error", row.worstRowError},
                              {"row_tolerance", row.rowTolerance},
                              {"seconds", row.seconds},
                              {"pass", row.pass}});
    std::cout << json.dump(2) << '\n';
  } else {
    std::cout << name << " against the recording in " << options.model << '\n';
    auto right = Table::Align::right;
    Table table({{"storage"},
                 {"layer", right},
                 {"phase"},
                 {"tokens", right},
                 {"error", right},
                 {"limit", right},
                 {"worst row", right},
                 {"limit", right},
                 {"seconds", right},
                 {"result"}});
    for (const ModelCheckRow &row : rows)
      table.addRow({row.storage, std::to_string(row.layer), row.phase, std::to_string(row.tokens),
                    format("%.2e", row.relativeError), format("%.0e", row.tolerance), format("%.2e", row.worstRowError),
                    format("%.0e", row.rowTolerance), format("%.2f", row.seconds), row.pass ? "pass" : "FAIL"});
    table.print(std::cout);
  }
  if (!pass)
    throw CheckFailed();
}

} // namespace

void addCheckCommand(CLI::App &app) {
  CLI::App *command = app.add_subcommand("check", "Check a variant, or what it computes against a trained model.");
  auto options = std::make_shared<CheckOptions>();
  command->add_option("VARIANT", options->variant, "variant file (JSON)")->required();
  CLI::Option *model =
      command->add_option("--model", options->model,
                          "directory with NAME.safetensors, NAME.json and NAME.reference.safetensors: compute its "
                          "attention and compare with the recording");
  command->add_option("--storage", options->storage, "element types to check with --model; default: f32 bf16")
      ->check(CLI::IsMember({"f64", "f32", "bf16", "f16"}))
      ->needs(model);
  command->add_flag("--reference", options->reference, "with --model: the reference path in place of the fused one")
      ->needs(model);
  command->add_option("--page-size", options->pageSize, pageSizeHelp)->needs(model);
  command->add_flag("--json", options->json, "print JSON");
  command->callback([options] {
    if (options->model.empty())
      checkVariant(*options);
    else
      checkAgainstModel(*options);
  });
}

} // namespace tpac
