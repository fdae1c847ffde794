// SPDX-License-Identifier: Apache-2.0
#include "client/discovery.h"

#include <cstring>
#include <string_view>

#include "client/environment.h"
#include "client/small_file.h"

namespace gcs {
namespace {

constexpr std::string_view kAuto = "auto";

std::string cluster_file() {
  std::string folder = environment("RAY_TMPDIR");
  if (folder.empty()) folder = environment("TMPDIR");
  if (folder.empty()) folder = "/tmp";
  return folder + "/ray/ray_current_cluster";
}

Refusal parse(const std::string& text, const std::string& source, transport::Address* address) {
  const std::string_view trimmed_text = trimmed(text);
  if (trimmed_text == "local") {
    return {Status::kInvalidArgument, kFlagLocal,
            source +
                " is \"local\", which starts a cluster of its own; give the host:port of a running "
                "GCS"};
  }
  if (trimmed_text.starts_with("ray://")) {
    return {Status::kInvalidArgument, kFlagLocal,
            source + " \"" + text +
                "\" is that of a Ray Client server; give the host:port of the GCS itself"};
  }
  std::string error;
  if (auto parsed = transport::Address::parse(trimmed_text, &error)) {
    *address = std::move(*parsed);
    return {};
  }
  return {Status::kInvalidArgument, kFlagLocal,
          source + " \"" + text + "\" cannot be an address: " + error};
}

}  // namespace

Refusal find_address(const std::optional<std::string>& given, transport::Address* address) {
  if (given && *given != kAuto) return parse(*given, "the address", address);
  std::string looked;
  if (!given) {
    const std::string from_environment = environment("RAY_ADDRESS");
    if (!from_environment.empty() && from_environment != kAuto)
      return parse(from_environment, "RAY_ADDRESS", address);
    looked = from_environment.empty() ? "RAY_ADDRESS is not set" : "RAY_ADDRESS is \"auto\"";
    looked += ", and ";
  }
  const std::string path = cluster_file();
  std::string line;
  const int error = read_first_line(path, &line);
  if (error == 0 && !line.empty()) return parse(line, "the address in " + path, address);
  return {Status::kNotFound, kFlagLocal,
          "no address of a GCS: none was given, " + looked + path + ", which `ray start` leaves, " +
              (error == 0 ? std::string("is empty")
                          : "cannot be read (" + std::string(std::strerror(error)) + ")") +
              "; pass an address such as \"127.0.0.1:6379\" or set RAY_ADDRESS"};
}

}  // namespace gcs
