"""Asking a server as its users do, over OpenAI's `/v1/completions`, which most engines have."""

from pathlib import Path

from pydantic import BaseModel, Field, ValidationError, model_validator

from factd.daemon.errors import HandoverFailed
from factd.daemon.network.client import HttpAnswer, origin
from factd.daemon.servers import Completion, ServerSettings, SingleVersionServer, Version
from factd.daemon.servers._http import Api, key_in

PATH = "/v1/completions"


class _Logprobs(BaseModel):
    token_logprobs: tuple[float | None, ...] = ()


class _Choice(BaseModel):
    text: str
    logprobs: _Logprobs | None = None


class _Completed(BaseModel):
    choices: tuple[_Choice, ...] = Field(min_length=1)


def complete(api: Api, model: str, prompt: str, *, tokens: int, path: str = PATH) -> Completion:
    """The greedy continuation of a prompt by a model of the server. Raises: HandoverFailed."""
    body = {"model": model, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "logprobs": 1}
    return completion(api, api.done("POST", path, body))


def completion(api: Api, answer: HttpAnswer) -> Completion:
    """The completion in a response. Raises: HandoverFailed: it has another form."""
    try:
        first = _Completed.model_validate_json(answer.body).choices[0]
    except ValidationError as error:
        raise HandoverFailed(
            f"{origin(api.url)} did not answer with a completion: {error.errors()[0]['msg']}"
        ) from error
    values = first.logprobs.token_logprobs if first.logprobs else ()
    return Completion(text=first.text, logprobs=tuple(v for v in values if v is not None))


class CompletionServerSettings(ServerSettings):
    """The keys of a server whose completions have another address than what loads versions."""

    completions_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """The whole URL of the completion API at which factd asks what is served."""
    model: str = ""
    """The name of the model in that API."""
    api_key_file: Path | None = None
    """A file that holds the key of that API."""
    unasked: bool = False
    """Nothing asks this server, so nothing would notice wrong weights."""

    @model_validator(mode="after")
    def _is_asked_or_not(self) -> "CompletionServerSettings":
        if bool(self.completions_url) == self.unasked:
            raise ValueError(
                "give completions_url and model, through which the server is asked what it "
                "serves, or unasked = true: then nothing notices wrong weights"
            )
        if bool(self.completions_url) != bool(self.model):
            raise ValueError("give completions_url and model together")
        return self

    def ready(self) -> None:
        """Check the key. Raises: BadConfig: it cannot be read."""
        key_in(self.api_key_file)


class CompletionServer(SingleVersionServer):
    """A server whose completions have another address than what loads versions."""

    def __init__(self, settings: CompletionServerSettings) -> None:
        key, self.model = key_in(settings.api_key_file), settings.model
        self.asks = not settings.unasked
        self.api = Api(settings, settings.completions_url, key=key)

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        """The greedy continuation that users get. Raises: HandoverFailed."""
        if not self.asks:
            return super().complete(prompt, tokens=tokens)
        return complete(self.api, self.model, prompt, tokens=tokens, path="")

    def close(self) -> None:
        """Close the connection."""
        self.api.close()
