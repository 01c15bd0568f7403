"""Deployment script of the screening model: one biopsy in, 1 (malignant) or 0 (benign) out."""

import json

import numpy as np


def predict(artifact_list, payload):
    """Answer one call: ``payload`` is the request's body, a JSON object with one number per measurement."""
    model, scaler, baseline = artifact_list
    biopsy = json.loads(payload)
    # The baseline knows the measurements in the order the model was trained on.
    measurements = np.array([[float(biopsy[name]) for name in baseline]])
    return int(model.predict(scaler.transform(measurements))[0])
