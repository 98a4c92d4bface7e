"""lit of the dialects and passes: every .mlir below is a test; what it needs stands in its RUN lines."""
import os

import lit.formats

config.name = "evo-passes"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir"]
config.excludes = ["Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.evo_binary_dir
config.environment["PATH"] = os.pathsep.join([config.evo_program_dir, config.llvm_tools_dir, config.environment["PATH"]])
# A failed check shows what it was given.
config.environment["FILECHECK_OPTS"] = "--dump-input=fail --enable-var-scope"
config.substitutions.append(("%specs", config.evo_specs_dir))
config.substitutions.append(("%inputs", os.path.join(config.test_source_root, "Inputs")))
