// SPDX-License-Identifier: Apache-2.0
//
// tpac, the compiler for tensor product attention: reads the command line and runs a command.

#include "tools/tpac/Commands.h"

#include "tpac/Version.h"

#include <exception>
#include <iostream>

int main(int argc, char **argv) {
  CLI::App app("tpac compiles tensor product attention: from a variant (JSON) to kernels.", "tpac");
  app.set_version_flag("--version", "tpac " TPAC_VERSION " (LLVM " TPAC_LLVM_VERSION ")");
  app.require_subcommand(1);
  app.fallthrough();
  app.footer("Variants: docs/variant.md, configs/. 'tpac COMMAND --help' explains a command.");
  tpac::addBenchCommand(app);
  tpac::addBuildCommand(app);
  tpac::addCheckCommand(app);
  tpac::addRecordsCommand(app);
  tpac::addShowCommand(app);
  tpac::addTuneCommand(app);
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::RequiredError &error) {
    if (!app.get_subcommands().empty())
      return app.exit(error), 2;
    if (argc > 1) {
      std::cerr << "tpac: unknown command '" << argv[1] << "'; accepted:";
      for (const CLI::App *command : app.get_subcommands({}))
        std::cerr << ' ' << command->get_name();
      std::cerr << '\n';
      return 2;
    }
    std::cout << app.help();
    return 2;
  } catch (const CLI::ParseError &error) {
    // Help and version come here too, with code 0.
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const tpac::CheckFailed &) {
    return 1;
  } catch (const std::exception &error) {
    std::cerr << "tpac: " << error.what() << '\n';
    return 1;
  }
}
