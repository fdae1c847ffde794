// SPDX-License-Identifier: Apache-2.0
//
// An environment of the test's own: nothing of the user's Ray is seen while it lives, and
// everything is put back after. For one thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace gcs::test {

class ScopedEnvironment {
 public:
  // Hides all RAY_* variables, TMPDIR and HOME.
  ScopedEnvironment();
  ScopedEnvironment(const ScopedEnvironment&) = delete;
  ScopedEnvironment& operator=(const ScopedEnvironment&) = delete;
  ~ScopedEnvironment();

  void set(const std::string& name, const std::string& value);
  void unset(const std::string& name);

 private:
  void remember(const std::string& name);
  std::map<std::string, std::optional<std::string>> before_;
};

// Removed with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();

  const std::string& path() const noexcept { return path_; }
  // Writes a file, and makes the folders on the way to it. Returns its path.
  std::string write(const std::string& name, std::string_view text) const;

 private:
  std::string path_;
};

}  // namespace gcs::test
