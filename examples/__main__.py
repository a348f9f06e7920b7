"""List the experiments: `python -m examples`."""

from examples.common.catalogue import experiments


def main() -> None:
    """Print one line per experiment, then how to run them."""
    catalogue = experiments()
    width = max(map(len, catalogue))
    for name, description in catalogue.items():
        print(f"{name:<{width}}  {description}")
    print("\npython examples/NAME.py --help explains one; --quick runs it in seconds.")
    print("python -m examples.report runs all of them and writes one page with the figures.")


if __name__ == "__main__":
    main()
