"""Real Django projects from the package registry, whose own tests run with the bridge's app installed and without."""
