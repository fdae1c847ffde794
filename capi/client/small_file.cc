// SPDX-License-Identifier: Apache-2.0
#include "client/small_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "transport/descriptor.h"

namespace gcs {

std::string_view trimmed(std::string_view text) noexcept {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

int read_first_line(const std::string& path, std::string* line) {
  constexpr std::size_t kLargest = 64 << 10;
  line->clear();
  // Not blocking: a FIFO in the file's place must not hang the client.
  const transport::Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return errno;
  std::string text;
  char chunk[4096];
  while (text.size() < kLargest && text.find('\n') == std::string::npos) {
    const ssize_t got = ::read(file.get(), chunk, sizeof chunk);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    text.append(chunk, static_cast<std::size_t>(got));
  }
  *line = std::string(trimmed(std::string_view(text).substr(0, text.find('\n'))));
  return 0;
}

}  // namespace gcs
