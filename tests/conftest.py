pytest_plugins = ["tests.support.services", "tests.support.issuer", "tests.support.world", "tests.support.logged"]
