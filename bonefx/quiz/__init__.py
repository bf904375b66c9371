"""A reader study: people mark fractures on radiographs, alone and with the models' marks.

`cases` are radiographs whose fractures are known, `rounds` says what a reader is shown next, `scoring`
judges marks, `answers` keeps them in a file, `study` is several readers with an order of their own, and
`figures` computes what came out. No Gradio: the page is `bonefx.ui.quiz`.
"""
