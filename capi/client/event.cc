// SPDX-License-Identifier: Apache-2.0
#include "client/event.h"

#include <new>

namespace gcs {

void Event::set_text(std::string message, std::string address) noexcept {
  try {
    if (!text_) text_ = std::make_unique<Text>();
    text_->message = std::move(message);
    text_->address = std::move(address);
  } catch (const std::bad_alloc&) {
  }
}

}  // namespace gcs
