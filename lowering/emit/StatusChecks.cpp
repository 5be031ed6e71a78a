// SPDX-License-Identifier: Apache-2.0
//
// Lists the argument checks of each phase. How they are compiled is not decided here.

#include "lowering/emit/StatusChecks.h"

#include "lowering/emit/SignatureText.h"

namespace tpac {

namespace {

std::vector<StatusCheck> checksOf(std::string_view symbolPrefix, const PhaseSignature &signature, int32_t firstStatus) {
  const std::string function = functionName(symbolPrefix, signature.phase);
  std::vector<StatusCheck> checks;
  auto add = [&](CheckKind kind, size_t index, const std::string &text) {
    checks.push_back({kind, index, firstStatus + static_cast<int32_t>(checks.size()), function + ": " + text});
  };

  add(CheckKind::argsNull, 0, "args is NULL; expected a pointer to " + function + "_args");
  add(CheckKind::structSize, 0,
      "args.struct_size is less than " + std::to_string(8 * requiredWords(signature)) + "; expected sizeof(" +
          function + "_args)");
  for (size_t index = 0; index < signature.sizes.size(); ++index) {
    const std::string &size = signature.sizes[index];
    add(CheckKind::sizeRange, index, size + " is out of range; expected 0 .. " + std::to_string(largestSize));
    if (int64_t unit = capacityUnit(signature); unit != 1 && size == "capacity")
      add(CheckKind::capacityBlock, index,
          "capacity is not divisible by " + std::to_string(unit) + "; expected whole " +
              (storageOf(signature).pageSize != 0 ? "pages" : "blocks") + " of " + std::to_string(unit) + " tokens");
  }
  for (size_t index = 0; index < signature.tensors.size(); ++index) {
    const PhaseTensor &tensor = signature.tensors[index];
    if (!tensor.isOptional)
      add(CheckKind::dataNull, index, tensor.name + ".data is NULL; expected a pointer to " + tensorText(tensor));
    if (int64_t size = elementSize(tensor.elementType); size > 1)
      add(CheckKind::dataAlignment, index,
          tensor.name + ".data is not aligned; expected a multiple of " + std::to_string(size) + " bytes for " +
              tensorText(tensor));
    // What MLIR generates for memrefs takes strides as unsigned.
    add(CheckKind::strideNegative, index,
        tensor.name + ".strides holds a negative stride; expected 0 or more for each dimension, or NULL");
    // Kernels read rows of a cache as vectors and matrix tiles.
    if (isCache(tensor))
      add(CheckKind::strideOfRow, index,
          tensor.name +
              ".strides does not end with 1; expected the last dimension of a cache to be contiguous, or NULL");
  }

  const int tokenStart = tensorIndex(signature, "token_start");
  const int lengths = tensorIndex(signature, "lengths");
  if (tokenStart >= 0) {
    add(CheckKind::tokenStartNegative, tokenStart, "token_start[0] is negative; expected 0 or more");
    add(CheckKind::tokenStartOrder, tokenStart,
        "token_start decreases; expected token_start[b] <= token_start[b + 1] for each request b");
    add(CheckKind::tokenStartLast, tokenStart, "token_start[batch] exceeds tokens; expected at most tokens");
  }
  const int pageStarts = tensorIndex(signature, pageStartsName);
  if (pageStarts >= 0) {
    add(CheckKind::pageStartsNegative, pageStarts, "page_starts[0] is negative; expected 0 or more");
    add(CheckKind::pageStartsOrder, pageStarts,
        "page_starts decreases; expected page_starts[b] <= page_starts[b + 1] for each request b");
    add(CheckKind::pageStartsLast, pageStarts,
        "page_starts[batch] exceeds listed_pages; expected at most listed_pages, the numbers in block_table");
  }
  if (lengths >= 0 && sizeIndex(signature, "capacity") >= 0) {
    add(CheckKind::lengthRange, lengths, "lengths[b] is out of range; expected 0 .. capacity for each request b");
    if (signature.phase == Phase::append && tokenStart >= 0)
      add(CheckKind::appendedLength, lengths,
          "the new tokens do not fit the cache; expected lengths[b] + token_start[b + 1] - token_start[b] <= capacity "
          "for each request b");
    if (pageStarts >= 0)
      add(CheckKind::listedLength, lengths,
          std::string("the tokens of a request do not fit its listed pages; expected lengths[b]") +
              (signature.phase == Phase::append ? " + token_start[b + 1] - token_start[b]" : "") +
              " <= " + std::to_string(storageOf(signature).pageSize) +
              " (page_starts[b + 1] - page_starts[b]) for each request b");
  }
  add(CheckKind::executorRun, 0, "executor.run is NULL; expected a function, or a NULL executor");
  if (signature.split > 0) {
    add(CheckKind::workspaceAlignment, 0,
        "workspace is not aligned; expected a multiple of " + std::to_string(workspaceAlignment) + " bytes, or NULL");
    add(CheckKind::workspaceSize, 0,
        "workspace_size is smaller than " + workspaceSizeName(symbolPrefix, signature.phase) +
            "(tokens, batch, capacity); expected at least that many bytes, or a NULL workspace");
  }
  if (signature.scratch > 0) {
    add(CheckKind::scratchAlignment, 0,
        "scratch is not aligned; expected a multiple of " + std::to_string(workspaceAlignment) + " bytes, or NULL");
    add(CheckKind::scratchSize, 0,
        "scratch_size is less than " + std::to_string(signature.scratch) +
            "; expected at least that many bytes for each thread that is to compute, or NULL scratch");
  }
  return checks;
}

} // namespace

std::vector<std::vector<StatusCheck>> statusChecks(std::string_view symbolPrefix,
                                                   const std::vector<PhaseSignature> &signatures) {
  std::vector<std::vector<StatusCheck>> checks;
  int32_t nextStatus = 1;
  for (const PhaseSignature &signature : signatures) {
    checks.push_back(checksOf(symbolPrefix, signature, nextStatus));
    nextStatus += static_cast<int32_t>(checks.back().size());
  }
  return checks;
}

std::vector<std::string> statusTable(std::string_view symbolPrefix, const std::vector<PhaseSignature> &signatures) {
  std::vector<std::string> table = {"success"};
  for (const std::vector<StatusCheck> &checks : statusChecks(symbolPrefix, signatures))
    for (const StatusCheck &check : checks)
      table.push_back(check.message);
  return table;
}

std::string noLevelText(std::string_view symbolPrefix, const std::vector<std::string> &levels) {
  std::string text = std::string(symbolPrefix) + ": this machine runs none of the pack's levels; expected a CPU and an "
                                                 "operating system with";
  for (const std::string &level : levels)
    text += (&level == &levels.front() ? " " : " or ") + level;
  return text + ", and no lower level in the environment variable TPAC_CPU_LEVEL";
}

std::string_view unknownStatusText() { return "unknown status: no function of this pack returns it"; }

} // namespace tpac
