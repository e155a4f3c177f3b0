"""XLM-RoBERTa whose layers differ in attention heads and feed-forward units, for PyTorch.

alignreg_jax writes this file beside a model that it made smaller. Tensors have the names of
transformers' XLM-RoBERTa. Load it through AutoModel, AutoModelForSequenceClassification or
AutoModelForTokenClassification with trust_remote_code=True.
"""

import torch
from torch import nn
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)


class XLMRobertaSlicedConfig(PretrainedConfig):
    """As XLMRobertaConfig, with heads and feed-forward units by layer, and the size of a head."""

    model_type = "xlm-roberta-sliced"

    def __init__(self, num_attention_heads=(), intermediate_size=(), **rest):
        self.num_attention_heads = list(num_attention_heads)
        self.intermediate_size = list(intermediate_size)
        super().__init__(**rest)


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        width, rows = config.hidden_size, config.max_position_embeddings
        self.pad, self.plain = config.pad_token_id, getattr(config, "plain_positions", False)
        self.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=self.pad)
        self.position_embeddings = nn.Embedding(rows, width, padding_idx=self.pad)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.LayerNorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids):
        counted = ((ids != self.pad) | self.plain).long()
        positions = torch.cumsum(counted, dim=1) * counted + self.pad
        hidden = self.word_embeddings(ids) + self.token_type_embeddings(torch.zeros_like(ids))
        return self.dropout(self.LayerNorm(hidden + self.position_embeddings(positions)))


class Output(nn.Module):
    """What attention, or the feed-forward part, adds to its input; the input may have width 0."""

    def __init__(self, config, width):
        super().__init__()
        self.dense = nn.Linear(width, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, inner, hidden):
        return self.LayerNorm(self.dropout(self.dense(inner)) + hidden)


class Layer(nn.Module):
    def __init__(self, config, heads, units):
        super().__init__()
        self.heads, self.size = heads, config.attention_head_size
        self.rate, width = config.attention_probs_dropout_prob, heads * self.size
        parts = {name: nn.Linear(config.hidden_size, width) for name in ("query", "key", "value")}
        attention = {"self": nn.ModuleDict(parts), "output": Output(config, width)}
        self.attention = nn.ModuleDict(attention)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(config.hidden_size, units)})
        self.output = Output(config, units)

    def forward(self, hidden, mask):
        rows, length, _ = hidden.shape
        context = hidden.new_zeros(rows, length, 0)
        if self.heads:
            query, key, value = (
                part(hidden).view(rows, length, self.heads, self.size).transpose(1, 2)
                for part in self.attention["self"].values()
            )
            rate = self.rate if self.training else 0.0
            context = functional.scaled_dot_product_attention(query, key, value, mask, rate)
            context = context.transpose(1, 2).reshape(rows, length, -1)
        hidden = self.attention["output"](context, hidden)
        return self.output(functional.gelu(self.intermediate["dense"](hidden)), hidden)


class XLMRobertaSlicedPreTrainedModel(PreTrainedModel):
    config_class = XLMRobertaSlicedConfig
    base_model_prefix = "roberta"


class XLMRobertaSlicedModel(XLMRobertaSlicedPreTrainedModel):
    def __init__(self, config, **unused):
        super().__init__(config)
        sizes = zip(config.num_attention_heads, config.intermediate_size, strict=True)
        self.embeddings = Embeddings(config)
        layers = nn.ModuleList(Layer(config, heads, units) for heads, units in sizes)
        self.encoder = nn.ModuleDict({"layer": layers})
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **unused):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        hidden, mask = self.embeddings(input_ids), attention_mask[:, None, None, :].bool()
        states = [hidden]
        for layer in self.encoder["layer"]:
            states.append(layer(states[-1], mask))
        return BaseModelOutput(last_hidden_state=states[-1], hidden_states=tuple(states))


class Classifier(XLMRobertaSlicedPreTrainedModel):
    """An encoder and a head; `answer` is what a subclass returns."""

    def __init__(self, config):
        super().__init__(config)
        self.roberta = XLMRobertaSlicedModel(config)
        rate = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if rate is None else rate)
        self.classifier = self.head(config)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, **unused):
        logits = self.scores(self.roberta(input_ids, attention_mask).last_hidden_state)
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits.flatten(0, -2), labels.flatten())
        return self.answer(loss=loss, logits=logits)


class XLMRobertaSlicedForSequenceClassification(Classifier):
    answer = SequenceClassifierOutput

    def head(self, config):
        dense = nn.Linear(config.hidden_size, config.hidden_size)
        out = nn.Linear(config.hidden_size, config.num_labels)
        return nn.ModuleDict({"dense": dense, "out_proj": out})

    def scores(self, hidden):
        inner = torch.tanh(self.classifier["dense"](self.dropout(hidden[:, 0])))
        return self.classifier["out_proj"](self.dropout(inner))


class XLMRobertaSlicedForTokenClassification(Classifier):
    answer = TokenClassifierOutput

    def head(self, config):
        return nn.Linear(config.hidden_size, config.num_labels)

    def scores(self, hidden):
        return self.classifier(self.dropout(hidden))
