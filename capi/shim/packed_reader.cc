// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "shim/packed_format.h"

namespace gcs::shim {
namespace {

constexpr std::size_t kAlignment = 8;

// Cuts `size` bytes off the front.
bool cut(kv::Bytes* rest, std::uint64_t size, kv::Bytes* out) noexcept {
  if (size > rest->size()) return false;
  *out = rest->first(static_cast<std::size_t>(size));
  *rest = rest->subspan(static_cast<std::size_t>(size));
  return true;
}

}  // namespace

PackedReader::Outcome PackedReader::next(PackedRecord* record) noexcept {
  if (rest_.empty()) return Outcome::kEnd;
  gcs_packed_call& head = record->head;
  if (rest_.size() < sizeof head) return Outcome::kMalformed;
  std::memcpy(&head, rest_.data(), sizeof head);
  if (head.stride < sizeof head || head.stride % kAlignment != 0 || head.stride > rest_.size()) {
    return Outcome::kMalformed;
  }
  kv::Bytes bytes = rest_.subspan(sizeof head, head.stride - sizeof head);
  rest_ = rest_.subspan(head.stride);
  const bool by_pointer = (head.flags & GCS_PACKED_BODY_POINTER) != 0;
  if (!cut(&bytes, head.name_size, &record->name) || !cut(&bytes, head.key_size, &record->key) ||
      !cut(&bytes, by_pointer ? sizeof(void*) : head.body_size, &record->body)) {
    return Outcome::kMalformed;
  }
  if (bytes.size() >= kAlignment) return Outcome::kMalformed;
  if (by_pointer) {
    const std::uint8_t* body = nullptr;
    std::memcpy(&body, record->body.data(), sizeof body);
    record->body = {body, static_cast<std::size_t>(head.body_size)};
  }
  return Outcome::kRecord;
}

bool is_well_formed(std::span<const std::uint8_t> batch) noexcept {
  PackedReader reader(batch);
  PackedRecord record;
  for (;;) {
    const PackedReader::Outcome outcome = reader.next(&record);
    if (outcome != PackedReader::Outcome::kRecord) return outcome == PackedReader::Outcome::kEnd;
  }
}

bool read_packed_keys(kv::Bytes packed, std::vector<kv::Bytes>* keys) {
  kv::Bytes key;
  while (!packed.empty()) {
    std::uint32_t size = 0;
    if (!cut(&packed, sizeof size, &key)) return false;
    std::memcpy(&size, key.data(), sizeof size);
    if (!cut(&packed, size, &key)) return false;
    keys->push_back(key);
  }
  return true;
}

}  // namespace gcs::shim
