"""The network and its dense twin, the adapter for any other classifier, inference, ONNX export."""
