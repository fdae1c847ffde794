// SPDX-License-Identifier: Apache-2.0
#include "client/event.h"

#include <new>
#include <string>

namespace gcs {

void Event::set_text(std::string_view message, std::string_view address) noexcept {
  try {
    text_ = std::make_unique<Text>(std::string(message), std::string(address));
  } catch (const std::bad_alloc&) {
    text_.reset();
  }
}

}  // namespace gcs
