import json

import numpy as np


def predict(artifact_list, payload):
    model = artifact_list[0]
    baseline = artifact_list[2]
    data = json.loads(payload)
    row = np.array([[data[name] for name in baseline]], dtype=float)
    return float(model.predict(row).ravel()[0])
