// Package modelstub serves OpenAI's and Anthropic's protocols over HTTP and plays language models: a good
// one, one that obeys whatever it reads, and many that fail. It lets the whole path to a model be tried
// without one.
//
// The name of the model in a request chooses what is played; see [Plays]. A script adds plays of its own. Each
// play is a function of the conversation, so that the same conversation gets the same answer.
//
// Tokens are counted by reason.CountTokens.
package modelstub
