"""`python -m caffe_port`: the command line."""

from caffe_port.cli import main

if __name__ == "__main__":
    main()
