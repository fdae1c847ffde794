// SPDX-License-Identifier: Apache-2.0
#include "client/event.h"

#include <new>
#include <utility>

namespace gcs {

void Event::set_text(std::string_view message, std::string_view address) noexcept {
  try {
    auto text = std::make_unique<Text>();
    text->message = message;
    text->address = address;
    text_ = std::move(text);
  } catch (const std::bad_alloc&) {
    text_.reset();
  }
}

}  // namespace gcs
