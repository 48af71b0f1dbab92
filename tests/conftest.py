pytest_plugins = ["tests.support.services", "tests.support.world", "tests.support.logged"]
