// SPDX-License-Identifier: Apache-2.0
#include "client/connection_log.h"

#include <algorithm>
#include <utility>

#include "client/text.h"

namespace gcs {

void ConnectionLog::write(transport::TimePoint now, log::Level level,
                          std::string_view text) noexcept {
  if (!log::enabled(level)) return;
  const bool gives_way = due_ != transport::kNever;
  if (gives_way) ++left_out_;
  // What gives way may have been the more serious.
  level_ = gives_way ? std::max(level, level_) : level;
  assign(text_, text);
  due_ = std::max(now, next_);
  write_due(now);
}

void ConnectionLog::write_held(transport::TimePoint now) noexcept {
  constexpr std::int64_t kInterval = 1'000'000'000;
  if (due_ == transport::kNever) return;
  due_ = transport::kNever;
  next_ = now + kInterval;
  const std::uint64_t left_out = std::exchange(left_out_, 0);
  if (left_out == 0) {
    log::write(level_, join({text_}));
  } else {
    log::write(level_, join({text_, " (", Digits(left_out),
                             " more records about this connection were left out)"}));
  }
}

}  // namespace gcs
