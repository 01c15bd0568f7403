import json
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file(str(Path(__file__).with_name("tokenizer.json")))


def predict(artifact_list, payload):
    text = json.loads(payload)["text"]
    found = tokenizer.encode(text)
    inputs = {
        "input_ids": np.array([found.ids]),
        "attention_mask": np.array([found.attention_mask]),
        "token_type_ids": np.array([found.type_ids]),
    }
    logits = artifact_list[0].predict(inputs, "huggingface")[0][0]
    odds = np.exp(logits - logits.max())
    return float((odds / odds.sum())[1])
