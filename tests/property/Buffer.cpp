// SPDX-License-Identifier: Apache-2.0
//
// Layouts, poison and guards of the tensors that the property tests pass to compiled phases.

#include "tests/property/Buffer.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <stdexcept>

namespace property {

namespace {

std::string textOf(const Buffer::Index &index) {
  std::string text;
  for (int64_t i : index)
    text += (text.empty() ? "" : ", ") + std::to_string(i);
  return "[" + text + "]";
}

} // namespace

Buffer::Buffer(oracle::Type type, std::vector<int64_t> shape, bool strided, bool hasRows, Random &random)
    : elementType(type), dimensions(std::move(shape)), elementStrides(dimensions.size()) {
  std::vector<size_t> order(dimensions.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::reverse(order.begin(), order.end()); // fastest first
  if (strided)
    for (size_t i = order.size(), first = hasRows; i > first + 1; --i)
      std::swap(order[i - 1], order[random.range(static_cast<int64_t>(first), static_cast<int64_t>(i) - 1)]);
  int64_t stride = strided && !hasRows ? random.range(1, 2) : 1;
  for (size_t dimension : order) {
    elementStrides[dimension] = stride;
    stride *= std::max<int64_t>(1, dimensions[dimension]);
    if (strided)
      stride += random.range(0, 3);
  }
  // Callers of contiguous tensors may pass strides too.
  passesStrides = strided || random.chance(30);
  size_t size = oracle::typeSize(type);
  start = static_cast<size_t>(random.range(8, 15)) * size;
  bytes.assign(start + static_cast<size_t>(stride) * size + 64, oracle::isFloat(type) ? 0xff : 0x7f);
}

void *Buffer::data() { return bytes.data() + start; }

std::span<const int64_t> Buffer::strides() const {
  return passesStrides ? std::span<const int64_t>(elementStrides) : std::span<const int64_t>();
}

size_t Buffer::byteOffset(const Index &index) const {
  int64_t element = 0;
  for (size_t i = 0; i < index.size(); ++i) {
    if (index[i] < 0 || index[i] >= dimensions[i])
      throw std::out_of_range("no element " + textOf(index));
    element += index[i] * elementStrides[i];
  }
  return start + static_cast<size_t>(element) * oracle::typeSize(elementType);
}

void Buffer::set(const Index &index, double value) { oracle::encode(elementType, value, &bytes[byteOffset(index)]); }

double Buffer::get(const Index &index) const { return oracle::decode(elementType, &bytes[byteOffset(index)]); }

oracle::Tensor Buffer::read() const {
  oracle::Tensor tensor(dimensions);
  size_t position = 0;
  forEach([&](const Index &index) { tensor.data[position++] = get(index); });
  return tensor;
}

void Buffer::write(const oracle::Tensor &tensor) {
  size_t position = 0;
  forEach([&](const Index &index) { set(index, tensor.data[position++]); });
}

void Buffer::copyElement(const Index &to, const Buffer &other, const Index &from) {
  std::memcpy(&bytes[byteOffset(to)], &other.bytes[other.byteOffset(from)], oracle::typeSize(elementType));
}

void Buffer::forEach(const std::function<void(const Index &)> &visit) const {
  for (int64_t size : dimensions)
    if (size == 0)
      return;
  Index index(dimensions.size());
  while (true) {
    visit(index);
    size_t dimension = dimensions.size();
    while (dimension > 0 && ++index[dimension - 1] == dimensions[dimension - 1])
      index[--dimension] = 0;
    if (dimension == 0)
      return;
  }
}

void Buffer::remember() { remembered = bytes; }

std::string Buffer::changed(const std::function<bool(const Index &)> &mayChange) const {
  size_t size = oracle::typeSize(elementType);
  std::vector<unsigned char> allowed(bytes.size());
  std::string message;
  forEach([&](const Index &index) {
    size_t at = byteOffset(index);
    if (mayChange(index))
      std::fill_n(allowed.begin() + static_cast<long>(at), size, 1);
    else if (message.empty() && std::memcmp(&bytes[at], &remembered[at], size) != 0)
      message = "element " + textOf(index) + " must keep its value " +
                std::to_string(oracle::decode(elementType, &remembered[at])) + " and became " +
                std::to_string(get(index));
  });
  if (!message.empty())
    return message;
  for (size_t i = 0; i < bytes.size(); ++i)
    if (!allowed[i] && bytes[i] != remembered[i])
      return "byte " + std::to_string(static_cast<int64_t>(i) - static_cast<int64_t>(start)) +
             " from the first element, of no element, was written";
  return "";
}

} // namespace property
