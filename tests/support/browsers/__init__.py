"""A headless Chromium for tests, and axe-core, which looks for barriers on its pages."""
