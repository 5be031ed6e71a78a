// SPDX-License-Identifier: Apache-2.0

#include "tests/cuda/ptx/Program.h"

#include "tests/cuda/ptx/Memory.h"

#include <algorithm>
#include <cstring>

namespace tpac::ptx {
namespace {

using Symbols = std::map<std::string, uint64_t, std::less<>>;

/// Parts of an opcode between points.
std::vector<std::string_view> partsOf(std::string_view opcode) {
  std::vector<std::string_view> parts;
  for (size_t begin = 0; begin <= opcode.size();) {
    const size_t end = std::min(opcode.find('.', begin), opcode.size());
    parts.push_back(opcode.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

/// Of `{a, b}` its operands, else the one.
std::vector<std::string> elementsOf(const std::string &operand) {
  if (!operand.starts_with('{'))
    return {operand};
  std::vector<std::string> elements = {""};
  for (char c : operand.substr(1, operand.size() - 2))
    if (c == ',')
      elements.emplace_back();
    else if (c != ' ' && c != '\t')
      elements.back() += c;
  return elements;
}

/// The halves of a register, or the register of two halves.
template <typename Whole, typename Part> void unpack(Warp &warp, const Instruction &instruction) {
  const Whole *from = warp.lanes<Whole>(instruction.from[0]);
  forActiveLanes(warp, [&](int lane) {
    const Whole value = from[lane];
    for (size_t i = 0; i < 2; ++i)
      if (instruction.to[i] != noPlace)
        warp.lanes<Part>(instruction.to[i])[lane] = static_cast<Part>(value >> i * sizeof(Part) * 8);
  });
}
template <typename Whole, typename Part> void packParts(Warp &warp, const Instruction &instruction) {
  const Part *low = warp.lanes<Part>(instruction.from[0]), *high = warp.lanes<Part>(instruction.from[1]);
  forActiveLanes(warp, [&](int lane) {
    warp.lanes<Whole>(instruction.to[0])[lane] = static_cast<Whole>(Whole(high[lane]) << sizeof(Part) * 8 | low[lane]);
  });
}

void nothing(Warp &, const Instruction &) {}

class Decoder {
public:
  Decoder(const KernelText &kernel, const Symbols &symbols) : kernel(kernel), symbols(symbols) {}

  Program run() {
    program.name = kernel.name;
    program.parameters = kernel.parameters;
    program.mostThreads = kernel.mostThreads;
    for (const auto &[name, bytes] : kernel.registers)
      places[name] = allocate(bytes, bytes == 1 ? 0 : 0xff);
    for (const Statement &statement : kernel.statements) {
      Instruction instruction = decode(statement);
      instruction.line = statement.line;
      if (!statement.guard.empty()) {
        instruction.guard = registerPlace(statement.guard, 1);
        instruction.isGuardNegated = statement.isGuardNegated;
      }
      program.code.push_back(instruction);
      program.texts.push_back(statement.opcode);
    }
    // Where the last return is guarded, or a label stands behind it.
    Instruction end;
    end.execute = nothing;
    end.flow = Flow::exit;
    program.code.push_back(end);
    program.texts.emplace_back("end");
    return std::move(program);
  }

private:
  [[noreturn]] void refuse(const std::string &message) const {
    throw ParseError(current->line, current->opcode + ": " + message);
  }

  uint32_t allocate(int64_t bytes, uint8_t fill) {
    const size_t place = program.registers.size();
    constexpr size_t alignment = 64;
    const size_t size = (static_cast<size_t>(bytes) * lanesOfWarp + alignment - 1) / alignment * alignment;
    program.registers.resize(place + size, fill);
    return static_cast<uint32_t>(place);
  }

  uint32_t constant(uint64_t value, int64_t bytes) {
    auto [known, isNew] = constants.try_emplace({value, bytes}, 0);
    if (isNew) {
      known->second = allocate(bytes, 0);
      for (int lane = 0; lane < lanesOfWarp; ++lane)
        std::memcpy(&program.registers[known->second + static_cast<size_t>(lane * bytes)], &value,
                    static_cast<size_t>(bytes));
    }
    return known->second;
  }

  uint32_t registerPlace(const std::string &name, int64_t bytes) {
    auto found = places.find(name);
    if (found == places.end())
      refuse("found '" + name + "'; expected a register");
    if (int64_t has = kernel.registers.at(name); has != bytes)
      refuse("register " + name + " has " + std::to_string(has) + " bytes; expected " + std::to_string(bytes));
    return found->second;
  }

  uint32_t special(const std::string &name) {
    SpecialRegisters &all = program.special;
    uint32_t *place = name == "%tid.x"      ? &all.thread
                      : name == "%ctaid.x"  ? &all.block
                      : name == "%nctaid.x" ? &all.blocks
                      : name == "%ntid.x"   ? &all.threads
                      : name == "%laneid"   ? &all.lane
                                            : nullptr;
    if (!place)
      return noPlace;
    if (*place == noPlace)
      *place = allocate(4, 0);
    return *place;
  }

  /// Where an operand's value is.
  uint32_t value(const std::string &operand, int64_t bytes) {
    if (places.contains(operand))
      return registerPlace(operand, bytes);
    if (uint32_t place = special(operand); place != noPlace)
      return place;
    if (auto symbol = symbols.find(operand); symbol != symbols.end()) {
      if (bytes != 8)
        refuse("address " + operand + " has 8 bytes; expected " + std::to_string(bytes));
      return constant(symbol->second, 8);
    }
    int64_t number = 0;
    if (operand.starts_with("0f") || operand.starts_with("0d")) {
      if (parseInteger("0x" + operand.substr(2), number))
        return constant(static_cast<uint64_t>(number), bytes);
    } else if (parseInteger(operand, number)) {
      const uint64_t mask = bytes == 8 ? ~uint64_t(0) : (uint64_t(1) << 8 * bytes) - 1;
      return constant(bytes == 1 ? number != 0 : static_cast<uint64_t>(number) & mask, bytes);
    } else if (current->opcode.starts_with("createpolicy")) {
      // A share of what is read.
      return constant(0, bytes);
    }
    refuse("operand '" + operand + "' is not known");
  }

  uint32_t destination(const std::string &operand, int64_t bytes) {
    // The second of two results, whether a shuffle's source was there, is nobody's.
    const std::string first = operand.substr(0, operand.find('|'));
    return first == "_" ? noPlace : registerPlace(first, bytes);
  }

  int64_t bytesOf(const std::string &name) const {
    auto found = kernel.registers.find(name);
    return found == kernel.registers.end() ? 0 : found->second;
  }

  /// `[%rd1+16]`: its register, and the displacement.
  uint32_t address(const std::string &operand, int64_t &offset) {
    if (!operand.starts_with('[') || !operand.ends_with(']'))
      refuse("found '" + operand + "'; expected an address");
    const std::string inner = operand.substr(1, operand.size() - 2);
    const size_t plus = inner.find('+');
    offset = 0;
    if (plus != inner.npos && !parseInteger(inner.substr(plus + 1), offset))
      refuse("found '" + operand + "'; expected an address");
    return value(inner.substr(0, plus), 8);
  }

  Instruction decode(const Statement &statement) {
    current = &statement;
    const std::vector<std::string_view> parts = partsOf(statement.opcode);
    Instruction instruction;
    instruction.execute = nothing;
    if (parts[0] == "ret" || parts[0] == "exit") {
      instruction.flow = Flow::exit;
    } else if (parts[0] == "bra") {
      instruction.flow = Flow::branch;
      auto label = kernel.labels.find(statement.operands.at(0));
      if (label == kernel.labels.end())
        refuse("label " + statement.operands[0] + " does not exist");
      instruction.target = static_cast<uint32_t>(label->second);
    } else if (parts[0] == "ld" || parts[0] == "st") {
      decodeAccess(instruction, parts);
    } else if (parts[0] == "mov" && std::ranges::any_of(statement.operands, [](auto &it) { return it[0] == '{'; })) {
      decodeParts(instruction, parts);
    } else {
      decodeKnown(instruction);
    }
    return instruction;
  }

  void decodeAccess(Instruction &instruction, const std::vector<std::string_view> &parts) {
    const bool isLoad = parts[0] == "ld";
    const std::string_view type = parts.back();
    const int64_t bytes = typeBytes(type);
    auto has = [&](std::string_view part) { return std::ranges::find(parts, part) != parts.end(); };
    const std::vector<std::string> &operands = current->operands;
    const std::vector<std::string> elements = elementsOf(operands.at(isLoad ? 0 : 1));
    if (has("param") && isLoad) {
      decodeParameter(instruction, elements[0], bytes);
      return;
    }
    instruction.isShared = has("shared");
    if (!instruction.isShared && !has("global"))
      refuse("expected an access of global or shared memory");
    constexpr size_t mostElements = 4;
    if (elements.size() > mostElements)
      refuse("found " + std::to_string(elements.size()) + " elements; expected at most 4");
    instruction.count = static_cast<uint8_t>(elements.size());
    instruction.from[0] = address(operands.at(isLoad ? 1 : 0), instruction.offsets[0]);
    int64_t registerBytes = 0;
    for (const std::string &element : elements)
      registerBytes = std::max(registerBytes, bytesOf(element));
    if (registerBytes == 0)
      registerBytes = std::max<int64_t>(bytes, 2);
    for (size_t i = 0; i < elements.size(); ++i)
      if (isLoad)
        instruction.to[i] = destination(elements[i], registerBytes);
      else
        instruction.from[1 + i] = value(elements[i], registerBytes);
    instruction.execute = isLoad ? loadOf(bytes, type.starts_with('s'), registerBytes) : storeOf(bytes, registerBytes);
    if (!instruction.execute)
      refuse("registers of " + std::to_string(registerBytes) + " bytes do not hold the elements");
  }

  void decodeParameter(Instruction &instruction, const std::string &to, int64_t bytes) {
    std::string name = current->operands.at(1);
    name = name.substr(1, name.size() - 2);
    int64_t place = 0;
    for (const KernelText::Parameter &parameter : kernel.parameters) {
      if (parameter.name == name) {
        if (parameter.bytes != bytes || (bytes != 4 && bytes != 8))
          refuse("parameter " + name + " has " + std::to_string(parameter.bytes) + " bytes; expected 4 or 8");
        instruction.offsets[0] = place;
        instruction.to[0] = destination(to, bytes);
        instruction.execute = loadParameterOf(bytes);
        return;
      }
      // Each has 8 bytes of its own (Driver of a launch).
      place += 8;
    }
    refuse("parameter " + name + " does not exist");
  }

  void decodeParts(Instruction &instruction, const std::vector<std::string_view> &parts) {
    const int64_t bytes = typeBytes(parts.back());
    const std::vector<std::string> to = elementsOf(current->operands.at(0)), from = elementsOf(current->operands.at(1));
    if (to.size() + from.size() != 3 || (bytes != 4 && bytes != 8))
      refuse("expected two halves and a register");
    if (to.size() == 2) {
      instruction.execute = bytes == 8 ? unpack<uint64_t, uint32_t> : unpack<uint32_t, uint16_t>;
      for (size_t i = 0; i < 2; ++i)
        instruction.to[i] = destination(to[i], bytes / 2);
      instruction.from[0] = value(from[0], bytes);
      return;
    }
    instruction.execute = bytes == 8 ? packParts<uint64_t, uint32_t> : packParts<uint32_t, uint16_t>;
    instruction.to[0] = destination(to[0], bytes);
    for (size_t i = 0; i < 2; ++i)
      instruction.from[i] = value(from[i], bytes / 2);
  }

  void decodeKnown(Instruction &instruction) {
    std::vector<std::string> operands;
    for (const std::string &operand : current->operands)
      for (std::string &element : elementsOf(operand))
        operands.push_back(std::move(element));
    if (const MemoryOperation *operation = findMemoryOperation(current->opcode, operands.size())) {
      decodeMemory(instruction, *operation, operands);
      return;
    }
    const Operation *operation = findOperation(current->opcode);
    // Of a register that is wider than the type it is converted from, the lower bits are.
    if (auto wide = operands.empty() ? kernel.registers.end() : kernel.registers.find(operands.back());
        operation && current->opcode.starts_with("cvt.") && wide != kernel.registers.end() &&
        wide->second > operation->from.back())
      operation = findOperation(current->opcode + " of b" + std::to_string(8 * wide->second));
    if (!operation)
      refuse("is not known here");
    if (operands.size() != operation->to.size() + operation->from.size())
      refuse("found " + std::to_string(operands.size()) + " operands; expected " +
             std::to_string(operation->to.size() + operation->from.size()));
    instruction.execute = operation->execute;
    instruction.flow = operation->flow;
    for (size_t i = 0; i < operation->to.size(); ++i) {
      instruction.to[i] = destination(operands[i], operation->to[i]);
      if (instruction.to[i] == noPlace)
        instruction.to[i] = allocate(operation->to[i], 0);
    }
    for (size_t i = 0; i < operation->from.size(); ++i)
      instruction.from[i] = value(operands[operation->to.size() + i], operation->from[i]);
  }

  /// Addresses are what is read first, then come the others.
  void decodeMemory(Instruction &instruction, const MemoryOperation &operation,
                    const std::vector<std::string> &operands) {
    instruction.execute = operation.execute;
    instruction.flow = operation.flow;
    size_t written = 0, addresses = 0, sized = 0;
    size_t read = static_cast<size_t>(std::ranges::count(operation.operands, 'a'));
    for (size_t i = 0; i < operands.size(); ++i) {
      if (operation.operands[i] == 'a') {
        instruction.from[addresses] = address(operands[i], instruction.offsets[addresses]);
        ++addresses;
        continue;
      }
      const int bytes = operation.bytes[sized++];
      if (operation.operands[i] == 'w')
        instruction.to[written++] = destination(operands[i], bytes);
      else
        instruction.from[read++] = value(operands[i], bytes);
    }
  }

  const KernelText &kernel;
  const Symbols &symbols;
  const Statement *current = nullptr;
  Program program;
  std::map<std::string, uint32_t, std::less<>> places;
  std::map<std::pair<uint64_t, int64_t>, uint32_t> constants;
};

} // namespace

Module load(std::string_view text) {
  const ModuleText parsed = parse(text);
  Module module;
  Symbols symbols;
  for (const std::string &name : parsed.sharedArrays)
    symbols[name] = Block::sharedBase;
  for (const GlobalText &global : parsed.globals) {
    Global &own = module.globals.emplace_back();
    own.bytes = global.bytes.size();
    own.storage.resize(own.bytes + Global::alignment);
    std::memcpy(own.begin(), global.bytes.data(), own.bytes);
    symbols[global.name] = reinterpret_cast<uint64_t>(own.begin());
  }
  for (const KernelText &kernel : parsed.kernels)
    module.programs[kernel.name] = Decoder(kernel, symbols).run();
  return module;
}

} // namespace tpac::ptx
