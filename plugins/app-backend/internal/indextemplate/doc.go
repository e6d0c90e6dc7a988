// Package indextemplate renders index.html.tmpl, the page that the build of a
// frontend leaves for the backend to fill in.
//
//	page, err := indextemplate.Render("index.html.tmpl", text, indextemplate.Data{
//		Config: map[string]any{"app": map[string]any{"title": "Portal"}}, PublicPath: "/portal",
//	})
//
// The template language is that of lodash, with the delimiters that the
// reference sets:
//
//	<%= config.getString('app.title') %>          the value as it is
//	<%- config.getOptionalString('app.title') %>  the value, escaped for HTML
//	<% if (config.has('app.x')) { %> … <% } else if (…) { %> … <% } else { %> … <% } %>
//
// In lodash any JavaScript may stand there. Here it is what pages use:
// publicPath; the methods has, get, getString, getNumber, getBoolean,
// getStringArray and getConfig of config, all with getOptional…; JSON.stringify;
// literals; ??, ||, &&, !, the comparisons ===, !==, == and !=, +, ?: and
// parentheses. Nothing else can be expressed, so a template can do nothing but
// print the configuration that the frontend sees anyway. Everything else is an
// error that names the line.
package indextemplate
